// SPDX-License-Identifier: Apache-2.0
//! The crates of a package of this workspace.

use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand, Package, Target, TargetKind};

use crate::drawing::Drawing;
use crate::tree::Tree;

/// Draws the library and the programs of a package, by the name in its Cargo.toml; paths are
/// relative to its directory.
pub fn draw(package: &str) -> Result<Drawing> {
    let metadata = metadata()?;
    let package = metadata
        .packages
        .iter()
        .find(|found| found.name.as_str() == package)
        .with_context(|| format!("the workspace has no package {package}"))?;
    draw_package(package)
}

/// Draws every package of the workspace; gives their names, too.
pub fn draw_all() -> Result<Vec<(String, Drawing)>> {
    let packages = metadata()?.packages;
    packages.iter().map(|package| Ok((package.name.to_string(), draw_package(package)?))).collect()
}

fn metadata() -> Result<Metadata> {
    MetadataCommand::new().no_deps().exec().context("cannot read the workspace's metadata")
}

fn draw_package(package: &Package) -> Result<Drawing> {
    let dir = package.manifest_path.parent().context("the manifest is in no directory")?;
    let read = |path: &Path| std::fs::read_to_string(dir.as_std_path().join(path)).ok();
    let mut tree = Tree::default();
    for target in package.targets.iter().filter(|target| is_product(target)) {
        let root = target.src_path.strip_prefix(dir)?;
        let module = tree.add_crate(root.as_std_path(), &read)?;
        if !target.is_bin() {
            tree.libraries.insert(target.name.replace('-', "_"), module);
        }
    }
    Ok(Drawing::of(&tree))
}

/// Whether a target is not a test, a benchmark, an example or a build script.
fn is_product(target: &Target) -> bool {
    target.kind.iter().any(|kind| {
        matches!(kind, TargetKind::Bin | TargetKind::Lib | TargetKind::RLib | TargetKind::DyLib)
    })
}
