// SPDX-License-Identifier: Apache-2.0
//! Words for a human, which many requests are told.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Text that is not copied with what holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// Of the program.
    Fixed(&'static str),
    /// Of what was found.
    Found(Arc<str>),
}

impl Deref for Words {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Fixed(words) => words,
            Self::Found(words) => words,
        }
    }
}

impl fmt::Display for Words {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self)
    }
}

impl From<&'static str> for Words {
    fn from(words: &'static str) -> Self {
        Self::Fixed(words)
    }
}

impl From<String> for Words {
    fn from(words: String) -> Self {
        Self::Found(words.into())
    }
}
