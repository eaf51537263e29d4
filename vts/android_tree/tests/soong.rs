// SPDX-License-Identifier: Apache-2.0
//! Soong takes the modules of this project.

use std::fs;
use std::path::{Path, PathBuf};

use vts_android_tree::modules;
use vts_android_tree::soong::{check, Build, MoreFeatures};

fn root() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).unwrap()
}

fn none(problems: &[String]) {
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn libraries_are_named_after_their_crates() {
    none(&modules::library_names(&modules::read(&root()).unwrap()));
}

#[test]
fn every_file_that_a_module_names_is_there() {
    none(&modules::missing_sources(&modules::read(&root()).unwrap()));
}

#[test]
fn cargo_and_soong_have_the_same_dependencies() {
    none(&modules::dependencies(&modules::read(&root()).unwrap()).unwrap());
}

#[test]
fn no_source_of_a_module_needs_a_variable_of_cargo() {
    none(&modules::cargo_variables(&modules::read(&root()).unwrap()).unwrap());
}

#[test]
fn the_list_in_the_root_names_every_module_directory() {
    let root = root();
    let list = fs::read_to_string(root.join("Android.bp")).unwrap();
    for module in modules::read(&root).unwrap() {
        let dir = module.dir.strip_prefix(&root).unwrap().display().to_string();
        assert!(dir.is_empty() || list.contains(&format!("//   {dir}/ ")), "{dir}");
    }
}

/// The target directory of the build that runs this test.
fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    // target/debug/deps/NAME
    exe.ancestors().nth(3).unwrap().to_owned()
}

/// What AOSP's librustix lacks and on-device tests of the kernel use.
const MORE_FEATURES: [MoreFeatures; 2] = [
    MoreFeatures {
        module: "VtsDmaBufLoaderBenchmark",
        of_crate: "rustix",
        features: &["pipe", "system"],
    },
    MoreFeatures {
        module: "VtsKernelDmaBufCopyFileRangeTest",
        of_crate: "rustix",
        features: &["pipe", "process", "pty"],
    },
];

#[test]
fn the_sources_compile_as_soong_compiles_them() {
    let out_dir = target_dir().join("soong");
    let build = Build { root: root(), out_dir, more_features: MORE_FEATURES.to_vec() };
    if let Err(error) = check(&build) {
        panic!("{error:#}");
    }
}
