// SPDX-License-Identifier: Apache-2.0
//! Draws the imports between the files of a package, and finds circles in the drawing.
//!
//! A file imports the files that define what it names: in `use` declarations, and in paths inside
//! types, bodies, attributes and arguments of macros. A name that reaches the file by re-exports
//! counts for the file that defines it. These are no imports:
//! - `mod child;` and re-exports (`pub use`, `pub(crate) use`) by themselves;
//! - the name of a module alone (`use crate::heap;`), as opposed to what is named through it;
//! - whatever `#[cfg(test)]` keeps out of the product.
//!
//! The drawing is made from syntax alone, so it misses what only types tell: calls of methods, and
//! names that procedural macros make up. `cargo-modules` and `cargo-cycles` do not serve: they are
//! programs to install, not libraries, and draw modules instead of files.
//!
//! `cargo run --package vts_imports -- PACKAGE` prints a drawing; `tests/packages.rs` refuses
//! circles in the packages of the workspace.
//!
//! # Threading and lifetime
//! One thread, nothing kept: a [`Drawing`] owns what it shows.

mod cfg_test;
mod drawing;
mod import;
mod package;
mod scope;
mod token_path;
mod tree;
mod use_leaf;

#[cfg(test)]
mod tests;

pub use drawing::{Circle, Drawing};
pub use package::{draw, draw_all};
