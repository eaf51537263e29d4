// SPDX-License-Identifier: Apache-2.0
//! What the grammars of AIDL and Blueprint share: comments and identifiers.

use winnow::combinator::alt;
use winnow::prelude::*;
use winnow::token::{take_till, take_until, take_while};

/// A comment of a line or a block, as written.
pub(crate) fn comment<'a>(input: &mut &'a str) -> winnow::Result<&'a str> {
    let line = ("//", take_till(0.., '\n')).take();
    let block = ("/*", take_until(0.., "*/"), "*/").take();
    alt((line, block)).parse_next(input)
}

/// A letter or `_`, and the letters, digits and `_` after it.
pub(crate) fn identifier<'a>(input: &mut &'a str) -> winnow::Result<&'a str> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let rest = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (take_while(1, first), take_while(0.., rest)).take().parse_next(input)
}
