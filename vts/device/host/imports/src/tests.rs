// SPDX-License-Identifier: Apache-2.0
//! Small packages, written down here, and what is drawn of them.

use std::collections::HashMap;
use std::path::Path;

use crate::drawing::Drawing;
use crate::tree::Tree;

/// Draws a crate whose root is `lib.rs`.
fn draw(files: &[(&str, &str)]) -> Drawing {
    let texts: HashMap<&Path, &str> =
        files.iter().map(|(path, text)| (Path::new(*path), *text)).collect();
    let read = |path: &Path| texts.get(path).map(|text| (*text).to_owned());
    let mut tree = Tree::default();
    let library = tree.add_crate(Path::new("lib.rs"), &read).unwrap();
    tree.libraries.insert("house".to_owned(), library);
    if texts.contains_key(Path::new("main.rs")) {
        tree.add_crate(Path::new("main.rs"), &read).unwrap();
    }
    Drawing::of(&tree)
}

/// The arrows, without the places.
fn arrows(files: &[(&str, &str)]) -> Vec<String> {
    let text = draw(files).to_string();
    text.lines().map(|line| line.split("  ").next().unwrap().to_owned()).collect()
}

/// The first line of each circle.
fn circles(files: &[(&str, &str)]) -> Vec<String> {
    let circles = draw(files).circles();
    circles.iter().map(|circle| circle.to_string().lines().next().unwrap().to_owned()).collect()
}

#[test]
fn no_circle_in_a_line_of_files() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::B; pub struct A(B);"),
        ("b.rs", "pub struct B(super::c::C);"),
        ("c.rs", "pub struct C;"),
    ];
    assert_eq!(arrows(&files), ["a.rs -> b.rs", "b.rs -> c.rs"]);
    assert!(circles(&files).is_empty());
}

#[test]
fn circle_of_two() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B;\npub struct A(B);"),
        ("b.rs", "\npub fn f() -> super::a::A { loop {} } pub struct B;"),
    ];
    assert_eq!(
        draw(&files).circles()[0].to_string(),
        "a.rs -> b.rs -> a.rs\n    a.rs -> b.rs  (crate::b::B, line 1)\n    \
         b.rs -> a.rs  (super::a::A, line 2)"
    );
}

#[test]
fn circle_of_three() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::B; pub struct A(B);"),
        ("b.rs", "use crate::c::C; pub struct B(C);"),
        ("c.rs", "use crate::{a::A, d::D}; pub struct C(A, D);"),
        ("d.rs", "pub struct D;"),
    ];
    assert_eq!(circles(&files), ["a.rs -> b.rs -> c.rs -> a.rs"]);
}

#[test]
fn circles_apart_are_told_apart() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "use crate::a::A; pub struct B;"),
        ("c.rs", "use crate::{a::A, d::D}; pub struct C;"),
        ("d.rs", "use crate::c::C; pub struct D;"),
    ];
    assert_eq!(circles(&files), ["a.rs -> b.rs -> a.rs", "c.rs -> d.rs -> c.rs"]);
}

#[test]
fn files_of_longer_circles_are_named() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::B; pub struct A(B);"),
        ("b.rs", "use crate::{a::A, c::C}; pub struct B(A, C);"),
        ("c.rs", "use crate::a::A; pub struct C(A);"),
    ];
    let text = draw(&files).circles()[0].to_string();
    assert!(text.starts_with("a.rs -> b.rs -> a.rs\n"), "{text}");
    assert!(text.ends_with("\n    there are more circles among a.rs, b.rs, c.rs"), "{text}");
}

#[test]
fn circle_through_a_reexport() {
    let files = [
        ("lib.rs", "mod user; mod heap;"),
        ("heap/mod.rs", "mod system; pub use system::System;"),
        ("heap/system.rs", "use crate::user::User; pub struct System(User);"),
        ("user.rs", "use crate::heap::System; pub struct User; fn f(_: System) {}"),
    ];
    assert_eq!(circles(&files), ["heap/system.rs -> user.rs -> heap/system.rs"]);
}

#[test]
fn circle_through_a_renamed_reexport_of_all() {
    let files = [
        ("lib.rs", "mod user; mod heap;"),
        ("heap.rs", "mod system; pub use self::system::*;"),
        ("heap/system.rs", "pub struct System(crate::user::User);"),
        ("user.rs", "use crate::heap::{self as pile}; pub struct User; fn f(_: pile::System) {}"),
    ];
    assert_eq!(circles(&files), ["heap/system.rs -> user.rs -> heap/system.rs"]);
}

#[test]
fn a_parent_that_only_reexports_imports_nothing() {
    let files = [
        ("lib.rs", "pub mod heap; pub use heap::Heap;"),
        ("heap/mod.rs", "mod system; pub(crate) use self::system::System; pub struct Heap;"),
        ("heap/system.rs", "use super::Heap; pub struct System(Heap);"),
    ];
    assert_eq!(arrows(&files), ["heap/system.rs -> heap/mod.rs"]);
    assert!(circles(&files).is_empty());
}

#[test]
fn a_parent_that_uses_what_it_reexports_imports_it() {
    let files = [
        ("lib.rs", "mod heap;"),
        ("heap/mod.rs", "mod system; pub use system::System; pub struct Heap(System);"),
        ("heap/system.rs", "use super::Heap; pub struct System;"),
    ];
    assert_eq!(circles(&files), ["heap/mod.rs -> heap/system.rs -> heap/mod.rs"]);
}

#[test]
fn circle_through_a_path_in_a_body() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub fn f() { let x = crate::b::g; x() }"),
        ("b.rs", "pub fn g() { if true { use super::a; a::f() } }"),
    ];
    assert_eq!(circles(&files), ["a.rs -> b.rs -> a.rs"]);
}

#[test]
fn a_glob_in_a_body_counts() {
    let files = [
        ("lib.rs", "mod a; mod heap;"),
        ("a.rs", "pub fn f() { use crate::heap::*; if true { g(); Some(String::new()); } }"),
        ("heap/mod.rs", "mod system; pub use system::g;"),
        ("heap/system.rs", "pub fn g() {}"),
    ];
    assert_eq!(arrows(&files), ["a.rs -> heap/mod.rs", "a.rs -> heap/system.rs"]);
}

#[test]
fn names_in_macros_and_attributes_count() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "fn f() { println!(\"{}\", [crate::b::X, x.b]); }"),
        ("b.rs", "pub const X: u8 = 1; #[arg(value_parser = crate::c::parse)] struct Y;"),
        ("c.rs", "pub fn parse() { assert!(format!(\"{}\", d!()).is_empty()); }"),
        ("d.rs", "#[macro_export] macro_rules! d { () => { $crate::d::secret() } }"),
    ];
    let expected = ["a.rs -> b.rs", "b.rs -> c.rs"];
    assert_eq!(arrows(&files), expected, "a macro has no bare name in a sibling");
    let mut files = files;
    files[3].1 = "use crate::d; pub fn parse() { d!() }";
    assert_eq!(arrows(&files), [&expected[..], &["c.rs -> d.rs"]].concat());
}

#[test]
fn a_child_knows_the_macros_of_its_parent() {
    let files = [
        ("lib.rs", "mod a;"),
        ("a.rs", "macro_rules! twice { () => {} } mod b; struct A(b::B);"),
        ("a/b.rs", "pub struct B; fn f() { twice!(); }"),
    ];
    assert_eq!(circles(&files), ["a/b.rs -> a.rs -> a/b.rs"]);
}

#[test]
fn tests_do_not_count() {
    let files = [
        ("lib.rs", "mod a; mod b; #[cfg(test)] mod no_such_file;"),
        ("a.rs", "use crate::b::B; pub struct A(B);"),
        (
            "b.rs",
            "pub struct B; #[cfg(test)] use crate::a::A; #[cfg(test)] mod tests { use crate::a::A; }
             impl B { #[cfg(test)] fn f() -> crate::a::A {} }
             #[test] fn t() { crate::a::A; }",
        ),
    ];
    assert_eq!(arrows(&files), ["a.rs -> b.rs"]);
}

#[test]
fn other_crates_and_modules_alone_do_not_count() {
    let files = [
        ("lib.rs", "mod a; mod b; pub mod c;"),
        ("a.rs", "use crate::b; use std::fs; use ::b::X; fn f() { fs::read(); log::info!(); }"),
        ("b.rs", "pub use std::path::Path; pub(in crate::a) fn f() {}"),
        ("c.rs", "use crate::b::Path; fn f(_: &Path) {}"),
    ];
    assert!(arrows(&files).is_empty(), "{:?}", arrows(&files));
}

#[test]
fn inline_modules_belong_to_their_file() {
    let files = [
        ("lib.rs", "mod a { pub struct A(self::inner::B); pub mod inner; } mod c;"),
        ("a/inner.rs", "pub struct B(super::A);"),
        ("c.rs", "mod d { use super::super::a::A; }"),
    ];
    assert_eq!(arrows(&files), ["a/inner.rs -> lib.rs", "c.rs -> lib.rs", "lib.rs -> a/inner.rs"]);
}

#[test]
fn a_program_imports_files_of_its_library() {
    let files = [
        ("lib.rs", "pub mod plan;"),
        ("plan.rs", "pub struct Plan;"),
        ("main.rs", "mod steps; use steps::run; fn main() { run(); }"),
        ("steps.rs", "use house::plan::Plan; pub fn run() {}"),
    ];
    assert_eq!(arrows(&files), ["main.rs -> steps.rs", "steps.rs -> plan.rs"]);
}

#[test]
fn globs_that_name_each_other_come_to_an_end() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub use crate::b::*; pub struct A;"),
        ("b.rs", "pub use crate::a::*; fn f(_: A, _: Unknown) {}"),
    ];
    assert_eq!(arrows(&files), ["b.rs -> a.rs"]);
}

#[test]
fn what_a_macro_defines_belongs_to_its_file() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "bitflags! { pub struct Flags: u8 {} }"),
        ("b.rs", "use crate::a::Flags;"),
    ];
    assert_eq!(arrows(&files), ["b.rs -> a.rs"]);
}

#[test]
fn dot_has_an_arrow_for_each_pair_of_files() {
    let files =
        [("lib.rs", "mod a; use a::A; fn f(_: A) {}"), ("a.rs", "pub struct A; pub struct B;")];
    assert_eq!(
        draw(&files).dot(),
        "digraph {\n    rankdir = LR;\n    \"lib.rs\" -> \"a.rs\";\n}\n"
    );
}
