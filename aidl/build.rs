// SPDX-License-Identifier: Apache-2.0
//! Generates the Rust side of `vendor/dmabuf/loader/*.aidl`.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context};

const AIDL_DIR: &str = "vendor/dmabuf/loader";
const INTERFACE_VERSION: i32 = 1;
/// What an interface that is not frozen yet reports, as in AOSP.
const INTERFACE_HASH: &str = "notfrozen";

fn main() -> anyhow::Result<()> {
    println!("cargo::rerun-if-changed={AIDL_DIR}");
    let mut sources = aidl_files(Path::new(AIDL_DIR))?;
    // The version and the hash belong to the source that is added last.
    sources.sort_by_key(|path| path.file_stem().is_some_and(|stem| stem == "IDmaBufLoader"));
    let mut builder = rsbinder_aidl::Builder::new().set_async_support(false);
    for source in sources {
        builder = builder.source(source);
    }
    builder
        .version(INTERFACE_VERSION)
        .hash(INTERFACE_HASH)
        .include_dir(PathBuf::from("."))
        .output(PathBuf::from("vendor_dmabuf_loader.rs"))
        .generate()
        .map_err(|error| anyhow!("generating from {AIDL_DIR}: {error}"))
}

fn aidl_files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in directory.read_dir().context(AIDL_DIR)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "aidl") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
