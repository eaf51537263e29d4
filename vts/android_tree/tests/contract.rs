// SPDX-License-Identifier: Apache-2.0
//! `aidl` takes the contract without a warning.

use std::path::{Path, PathBuf};

use vts_android_tree::aidl::{self, lint, File};

fn contract() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../aidl")
}

fn sources() -> Vec<File> {
    let files = aidl::read(&contract().join("vendor")).unwrap_or_else(|error| panic!("{error:#}"));
    assert!(files.len() >= 20, "{} files", files.len());
    files
}

#[test]
fn no_enumerator_repeats_a_word_of_its_enum() {
    let found: Vec<String> = sources().iter().flat_map(lint::redundant_names).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn every_interface_says_who_may_call() {
    let files = sources();
    let declarations = files.iter().map(|file| &file.declaration);
    let found: Vec<&str> = declarations
        .filter(|declaration| lint::lacks_permission_annotation(declaration))
        .map(|declaration| declaration.name.as_str())
        .collect();
    assert!(found.is_empty(), "{found:?}");
}
