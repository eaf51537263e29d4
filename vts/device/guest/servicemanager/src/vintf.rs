// SPDX-License-Identifier: Apache-2.0
//! VINTF manifests: which AIDL instances the device declares.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use roxmltree::{Document, Node};

const DIRS: [&str; 2] = ["/system/etc/vintf", "/vendor/etc/vintf"];

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not XML.
    #[error("not XML: {0}")]
    Xml(#[from] roxmltree::Error),
    /// It is XML of another kind, or lacks something.
    #[error("{0}")]
    Content(String),
}

/// The declared instances, as `PACKAGE.IInterface/INSTANCE`.
#[derive(Debug, Default)]
pub struct Declarations {
    instances: BTreeSet<String>,
}

impl Declarations {
    /// Adds what one manifest or manifest fragment declares.
    pub fn add(&mut self, text: &str) -> Result<(), ManifestError> {
        let document = Document::parse(text)?;
        let root = document.root_element();
        if root.tag_name().name() != "manifest" {
            return Err(content("the root element is not <manifest>"));
        }
        for hal in children(root, "hal").filter(|hal| hal.attribute("format") == Some("aidl")) {
            let package = child_text(hal, "name")?;
            for fqname in children(hal, "fqname") {
                let name = text_of(fqname)?;
                if !matches!(name.split('/').collect::<Vec<_>>()[..], [interface, instance]
                    if !interface.is_empty() && !instance.is_empty())
                {
                    return Err(content(format!("'{name}' is not INTERFACE/INSTANCE")));
                }
                self.instances.insert(format!("{package}.{name}"));
            }
            for interface in children(hal, "interface") {
                let name = child_text(interface, "name")?;
                for instance in children(interface, "instance") {
                    self.instances.insert(format!("{package}.{name}/{}", text_of(instance)?));
                }
            }
        }
        Ok(())
    }

    /// Whether a service name is a declared instance.
    pub fn is_declared(&self, name: &str) -> bool {
        self.instances.contains(name)
    }

    /// The instances declared of `interface`, given as `PACKAGE.IInterface`.
    pub fn instances<'a>(&'a self, interface: &'a str) -> impl Iterator<Item = &'a str> {
        self.instances.iter().filter_map(move |name| {
            name.split_once('/').filter(|(of, _)| *of == interface).map(|(_, instance)| instance)
        })
    }
}

fn content(reason: impl Into<String>) -> ManifestError {
    ManifestError::Content(reason.into())
}

fn children<'a, 'i: 'a>(node: Node<'a, 'i>, tag: &'a str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |child| child.has_tag_name(tag))
}

fn text_of<'a>(node: Node<'a, '_>) -> Result<&'a str, ManifestError> {
    node.text()
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| content(format!("<{}> is empty", node.tag_name().name())))
}

fn child_text<'a, 'i: 'a>(node: Node<'a, 'i>, tag: &'static str) -> Result<&'a str, ManifestError> {
    let child = children(node, tag)
        .next()
        .ok_or_else(|| content(format!("<{}> has no <{tag}>", node.tag_name().name())))?;
    text_of(child)
}

/// Reads the manifests and fragments of the system and the vendor image.
pub fn load() -> Result<Declarations> {
    let mut declarations = Declarations::default();
    for dir in DIRS.map(Path::new) {
        let mut files: Vec<PathBuf> = vec![dir.join("manifest.xml")];
        files.extend(fragments(&dir.join("manifest"))?);
        for file in files.into_iter().filter(|file| file.exists()) {
            let name = file.display().to_string();
            let text = fs::read_to_string(&file).with_context(|| format!("reading {name}"))?;
            declarations.add(&text).with_context(|| name)?;
        }
    }
    Ok(declarations)
}

fn fragments(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("listing {}", dir.display()))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("listing {}", dir.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "xml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        let mut declarations = Declarations::default();
        declarations
            .add(
                r#"<?xml version="1.0"?>
                <manifest version="1.0" type="device">
                    <!-- newer form -->
                    <hal format="aidl">
                        <name>vendor.dmabuf.loader</name>
                        <version>1</version>
                        <fqname>IDmaBufLoader/default</fqname>
                        <fqname>IDmaBufLoader/second</fqname>
                    </hal>
                    <hal format="aidl">
                        <name> android.hardware.light </name>
                        <interface>
                            <name>ILights</name>
                            <instance>default</instance>
                            <instance>extra</instance>
                        </interface>
                    </hal>
                    <hal format="hidl">
                        <name>android.hardware.old</name>
                        <fqname>@1.0::IOld/default</fqname>
                    </hal>
                </manifest>"#,
            )
            .unwrap();
        for name in [
            "vendor.dmabuf.loader.IDmaBufLoader/default",
            "vendor.dmabuf.loader.IDmaBufLoader/second",
            "android.hardware.light.ILights/default",
            "android.hardware.light.ILights/extra",
        ] {
            assert!(declarations.is_declared(name), "{name}");
        }
        for name in [
            "vendor.dmabuf.loader.IDmaBufLoader/third",
            "vendor.dmabuf.loader.IDmaBufLoader",
            "android.hardware.old@1.0::IOld/default",
            "",
        ] {
            assert!(!declarations.is_declared(name), "{name}");
        }
        let instances: Vec<&str> =
            declarations.instances("vendor.dmabuf.loader.IDmaBufLoader").collect();
        assert_eq!(instances, ["default", "second"]);
        assert_eq!(declarations.instances("vendor.dmabuf.loader.IDmaBuf").count(), 0);
    }

    #[test]
    fn refusals() {
        let hal = |inner: &str| {
            format!("<manifest><hal format=\"aidl\"><name>p</name>{inner}</hal></manifest>")
        };
        for (text, expected) in [
            ("<manifest>".to_owned(), "not XML"),
            ("<compatibility-matrix/>".to_owned(), "not <manifest>"),
            ("<manifest><hal format=\"aidl\"/></manifest>".to_owned(), "<hal> has no <name>"),
            (hal("<fqname>IFoo</fqname>"), "'IFoo' is not INTERFACE/INSTANCE"),
            (hal("<fqname></fqname>"), "<fqname> is empty"),
            (hal("<interface><instance>a</instance></interface>"), "<interface> has no <name>"),
        ] {
            let error = Declarations::default().add(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
