// SPDX-License-Identifier: Apache-2.0
//! `aidl` takes the contract without a warning, and its API dump is that of the sources.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use vts_android_tree::aidl::model::File;
use vts_android_tree::aidl::{dump, lint, parser};
use vts_android_tree::source_text::files_with_extension;

/// Set to write the dump instead of comparing with it.
const UPDATE_VARIABLE: &str = "UPDATE_EXPECTED";

fn contract() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../aidl")
}

fn sources() -> Vec<File> {
    let files =
        parser::read(&contract().join("vendor")).unwrap_or_else(|error| panic!("{error:#}"));
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

/// Files of a directory, by path below it.
fn texts(dir: &Path) -> BTreeMap<String, String> {
    let files = files_with_extension(dir, "aidl").unwrap_or_default();
    let name = |path: &Path| path.strip_prefix(dir).unwrap().display().to_string();
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn the_api_dump_is_that_of_the_sources() {
    let dir = contract().join("aidl_api/vendor.dmabuf.loader/current");
    let dumped: BTreeMap<String, String> =
        sources().iter().map(|file| (dump::path(file), dump::dump(file).unwrap())).collect();
    if std::env::var_os(UPDATE_VARIABLE).is_some() {
        let _ = fs::remove_dir_all(&dir);
        for (path, text) in &dumped {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        return;
    }
    let kept = texts(&dir);
    let differ = |path: &&String| kept.get(*path) != dumped.get(*path);
    let found: Vec<&String> = kept.keys().chain(dumped.keys()).filter(differ).collect();
    assert!(found.is_empty(), "{found:?} differ: if that is meant, set {UPDATE_VARIABLE}=1");
}
