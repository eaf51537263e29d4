// SPDX-License-Identifier: Apache-2.0
//! Paths among the tokens that a macro or an attribute is given.

use proc_macro2::{TokenStream, TokenTree};

/// A name, or names joined by `::`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPath {
    /// The names.
    pub names: Vec<String>,
    /// Line of the first name, from 1.
    pub line: usize,
    /// Whether it is the name of a macro that is called.
    pub is_macro: bool,
}

/// All paths, but not names of fields, methods and lifetimes.
pub fn paths(tokens: TokenStream) -> Vec<TokenPath> {
    let mut found = Vec::new();
    add_paths(tokens, &mut found);
    found
}

fn add_paths(tokens: TokenStream, found: &mut Vec<TokenPath>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut rest = &tokens[..];
    let mut may_begin = true;
    while let [token, after @ ..] = rest {
        rest = after;
        match token {
            TokenTree::Ident(first) => {
                let mut names = vec![first.to_string()];
                while let [colon, other_colon, TokenTree::Ident(next), after @ ..] = rest {
                    if !(is_punct(colon, ':') && is_punct(other_colon, ':')) {
                        break;
                    }
                    names.push(next.to_string());
                    rest = after;
                }
                if may_begin {
                    let is_macro =
                        matches!(rest, [mark, TokenTree::Group(_), ..] if is_punct(mark, '!'));
                    found.push(TokenPath { names, line: first.span().start().line, is_macro });
                }
            }
            TokenTree::Group(group) => add_paths(group.stream(), found),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        may_begin = !is_punct(token, '.') && !is_punct(token, '\'');
    }
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_methods_and_lifetimes_are_left_out() {
        let tokens = "a::b::C, x.y.z(d), [e!(f), g ! h], &'i j: k::<l::M>, crate::n!{}";
        let shown: Vec<String> = paths(tokens.parse().unwrap())
            .into_iter()
            .map(|path| path.names.join("::") + if path.is_macro { "!" } else { "" })
            .collect();
        let expected = ["a::b::C", "x", "d", "e!", "f", "g", "h", "j", "k", "l::M", "crate::n!"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn lines_are_counted() {
        let found = paths("a,\n(\nb::c)".parse().unwrap());
        assert_eq!([found[0].line, found[1].line], [1, 3]);
    }
}
