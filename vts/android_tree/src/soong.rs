// SPDX-License-Identifier: Apache-2.0
//! Compiles the Rust modules of Android.bp files as Soong does, for a type check on the host.
//!
//! Each module becomes a Cargo package of a separate workspace, with the module's crate root and
//! `cfgs`. Its dependencies are the module's `rustlibs` alone, with the features that AOSP builds.
//! `stand_in/binder.rs` stands in for `libbinder_rs`, and `vendor.dmabuf.loader-V1-rust` is
//! generated from the `.aidl` files. Warnings are errors, as with `lints: "android"`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, ensure, Context, Result};

use crate::aidl;
use crate::modules::{self, Module};

/// What `lints: "android"` stands for; `soong` is a cfg that rustc does not know.
const LINTS: &str =
    "-A deprecated -A unexpected_cfgs -D missing_docs -D warnings -D unsafe_op_in_unsafe_fn";

/// Crates that AOSP builds with other features than their default ones.
const FEATURES: [(&str, &[&str]); 4] = [
    ("clap", &["derive"]),
    (
        "nix",
        &[
            "event", "feature", "fs", "inotify", "ioctl", "mman", "mount", "net", "poll",
            "process", "sched", "signal", "socket", "term", "time", "uio", "user",
        ],
    ),
    ("rustix", &["event", "fs", "mm"]),
    ("serde", &["derive", "rc"]),
];

const DEFAULT_EDITION: &str = "2021";
const BINDER: &str = "libbinder_rs";
const AIDL_SUFFIX: &str = "-V1-rust";

/// A source tree, and where to compile it.
#[derive(Debug, Clone)]
pub struct Build {
    /// Root of the tree: every Android.bp file below it counts.
    pub root: PathBuf,
    /// For the packages and what Cargo makes of them.
    pub out_dir: PathBuf,
    /// Features that a module uses although AOSP does not build them.
    pub more_features: Vec<MoreFeatures>,
}

/// Features of a crate that AOSP does not build and one module uses all the same.
#[derive(Debug, Clone, Copy)]
pub struct MoreFeatures {
    /// The module.
    pub module: &'static str,
    /// The crate.
    pub of_crate: &'static str,
    /// Its features.
    pub features: &'static [&'static str],
}

/// Type-checks every Rust module. The error has what the compiler said.
///
/// # Errors
/// Any warning or error of the compiler, and modules that this cannot express as packages.
pub fn check(build: &Build) -> Result<()> {
    let modules = modules::read(&build.root)?;
    write_workspace(build, &modules)?;
    let cfgs = common_cfgs(&modules)?;
    let cfgs: String = cfgs.iter().map(|cfg| format!(" --cfg {cfg}")).collect();
    let flags = format!("{LINTS}{cfgs}");
    // Cargo builds a crate with the features of all packages that it checks together.
    let rust = modules.iter().filter(|module| module.is_rust());
    let (more, usual): (Vec<&Module>, Vec<&Module>) =
        rust.partition(|module| build.more_features.iter().any(|more| more.module == module.name));
    let tests: Vec<&Module> =
        usual.iter().copied().filter(|module| module.has_test_harness()).collect();
    let mut complaints = String::new();
    complaints.push_str(&complaint(build, &[], &usual, &flags)?);
    complaints.push_str(&complaint(build, &["--tests"], &tests, &flags)?);
    for module in more {
        complaints.push_str(&complaint(build, &[], &[module], &flags)?);
    }
    ensure!(complaints.is_empty(), "{complaints}");
    Ok(())
}

/// What Cargo says of modules that it cannot check without a warning; nothing where it can.
fn complaint(build: &Build, targets: &[&str], modules: &[&Module], flags: &str) -> Result<String> {
    if modules.is_empty() {
        return Ok(String::new());
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["check", "--keep-going", "--color=never"]).args(targets);
    for module in modules {
        cargo.args(["--package", &package_of(&module.name)]);
    }
    let output = cargo
        .current_dir(&build.out_dir)
        .env("CARGO_TARGET_DIR", build.out_dir.join("target"))
        .env("RUSTFLAGS", flags)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .context("cannot run cargo")?;
    if output.status.success() {
        return Ok(String::new());
    }
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The `cfgs` that all Rust modules have: flags are given to Cargo once.
fn common_cfgs(modules: &[Module]) -> Result<Vec<&str>> {
    let mut rust = modules.iter().filter(|module| module.is_rust());
    let first = rust.next().context("no Rust module")?;
    let cfgs = first.properties.strings("cfgs");
    for module in rust {
        ensure!(
            module.properties.strings("cfgs") == cfgs,
            "{} and {} have different cfgs",
            first.name,
            module.name
        );
    }
    Ok(cfgs)
}

fn package_of(module_name: &str) -> String {
    module_name.replace('.', "_")
}

fn write_workspace(build: &Build, modules: &[Module]) -> Result<()> {
    let manifest = read_manifest(&build.root.join("Cargo.toml"))?;
    let versions = manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(toml::Value::as_table)
        .context("Cargo.toml has no workspace.dependencies")?;

    let mut packages = vec![Package {
        module: BINDER.to_owned(),
        crate_name: "binder".to_owned(),
        root: Path::new(env!("CARGO_MANIFEST_DIR")).join("stand_in/binder.rs"),
        ..Package::default()
    }];
    for module in modules {
        if module.kind == "aidl_interface" {
            packages.push(aidl_package(build, module)?);
        } else if module.is_rust() {
            let roots = module.properties.strings("srcs");
            let &[root] = &roots[..] else { bail!("{}: not one file in srcs", module.name) };
            let edition = module.properties.string("edition");
            packages.push(Package {
                module: module.name.clone(),
                crate_name: module.crate_name(),
                root: module.dir.join(root),
                edition: edition.unwrap_or(DEFAULT_EDITION).to_owned(),
                is_program: module.kind != "rust_library" && !module.has_test_harness(),
                is_test: module.has_test_harness(),
                dependencies: dependencies(build, module, modules, versions)?,
            });
        }
    }
    let mut members = Vec::new();
    for package in &packages {
        package.write(&build.out_dir)?;
        members.push(package_of(&package.module));
    }
    let workspace = format!("[workspace]\nresolver = \"2\"\nmembers = {members:?}\n");
    write_if_new(&build.out_dir.join("Cargo.toml"), &workspace)?;
    // The same versions of crates as in the tree's own build. Cargo changes Cargo.lock, so an
    // unchanged copy tells whether the tree's has changed since.
    let Ok(lock) = fs::read_to_string(build.root.join("Cargo.lock")) else { return Ok(()) };
    let copied = build.out_dir.join("Cargo.lock.of_tree");
    if !fs::read_to_string(&copied).is_ok_and(|old| old == lock) {
        write_if_new(&build.out_dir.join("Cargo.lock"), &lock)?;
        write_if_new(&copied, &lock)?;
    }
    Ok(())
}

/// A module as a Cargo package with one target.
#[derive(Debug)]
struct Package {
    module: String,
    crate_name: String,
    root: PathBuf,
    edition: String,
    is_program: bool,
    is_test: bool,
    /// The text of `[dependencies]`.
    dependencies: String,
}

impl Default for Package {
    fn default() -> Self {
        Self {
            module: String::new(),
            crate_name: String::new(),
            root: PathBuf::new(),
            edition: DEFAULT_EDITION.to_owned(),
            is_program: false,
            is_test: false,
            dependencies: String::new(),
        }
    }
}

impl Package {
    fn write(&self, out_dir: &Path) -> Result<()> {
        let Self { module, crate_name, root, edition, is_test, dependencies, .. } = self;
        let name = package_of(module);
        let section = if self.is_program { "[[bin]]" } else { "[lib]" };
        let root =
            fs::canonicalize(root).with_context(|| format!("{module}: {}", root.display()))?;
        let text = format!(
            "[package]\nname = {name:?}\nversion = \"0.0.0\"\nedition = {edition:?}\n\n\
             {section}\nname = {crate_name:?}\npath = {root:?}\ntest = {is_test}\n\n\
             [dependencies]\n{dependencies}"
        );
        write_if_new(&out_dir.join(name).join("Cargo.toml"), &text)
    }
}

/// The Rust library of an interface, generated.
fn aidl_package(build: &Build, module: &Module) -> Result<Package> {
    let files = aidl::parser::read(&aidl_dir(module)?)?;
    let name = format!("{}{AIDL_SUFFIX}", module.name);
    let root = build.out_dir.join(package_of(&name)).join("generated.rs");
    write_if_new(&root, &aidl::rust::generate(&files)?)?;
    Ok(Package {
        module: name,
        crate_name: module.name.replace('.', "_"),
        root,
        dependencies: format!("binder = {{ package = {BINDER:?}, path = \"../{BINDER}\" }}\n"),
        ..Package::default()
    })
}

/// The directory that the first pattern in `srcs` names.
fn aidl_dir(module: &Module) -> Result<PathBuf> {
    let sources = module.properties.strings("srcs");
    let pattern = sources.first().with_context(|| format!("{}: no srcs", module.name))?;
    let dir = pattern.rsplit_once('/').map_or("", |(dir, _)| dir);
    Ok(module.dir.join(dir))
}

/// The `[dependencies]` of a module: its `rustlibs` and nothing else.
fn dependencies(
    build: &Build,
    module: &Module,
    modules: &[Module],
    versions: &toml::Table,
) -> Result<String> {
    let mut text = String::new();
    for library in module.properties.strings("rustlibs") {
        let aidl = library.strip_suffix(AIDL_SUFFIX);
        let own =
            modules.iter().find(|other| other.kind == "rust_library" && other.name == library);
        if let Some(crate_name) = own
            .map(Module::crate_name)
            .or(aidl.map(|interface| interface.replace('.', "_")))
            .or((library == BINDER).then(|| "binder".to_owned()))
        {
            let package = package_of(library);
            writeln!(text, "{crate_name} = {{ package = {package:?}, path = \"../{package}\" }}")?;
            continue;
        }
        let (name, entry) = versions
            .iter()
            .find(|(name, _)| modules::library_of(name, &[]) == library)
            .with_context(|| format!("{}: no crate for {library}", module.name))?;
        let version = entry.as_str().or_else(|| entry.get("version")?.as_str());
        let version = version.with_context(|| format!("{name} has no version"))?;
        let aosp = FEATURES.iter().find(|(own, _)| own == name).map(|(_, features)| *features);
        let mut features: Vec<&str> = aosp.unwrap_or_default().to_vec();
        let more = build.more_features.iter();
        let more = more.filter(|more| more.module == module.name && more.of_crate == name);
        features.extend(more.flat_map(|more| more.features));
        writeln!(text, "{name} = {{ version = {version:?}, features = {features:?} }}")?;
    }
    Ok(text)
}

fn read_manifest(path: &Path) -> Result<toml::Table> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.parse().with_context(|| format!("cannot parse {}", path.display()))
}

/// Leaves a file alone that has the text already, so that Cargo builds nothing anew.
fn write_if_new(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let dir = path.parent().context("a file without a directory")?;
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[workspace.dependencies]\nlog = \"0.4\"\n";
    const ANDROID_BP: &str = r#"
        aidl_interface { name: "a.b", srcs: ["a/b/*.aidl"] }
        rust_defaults { name: "defaults", cfgs: ["soong"] }
        rust_library {
            name: "libfoo",
            crate_name: "foo",
            defaults: ["defaults"],
            srcs: ["foo.rs"],
            rustlibs: ["a.b-V1-rust", "libbinder_rs"],
        }
    "#;
    /// A service as AOSP has it.
    const SERVICE: &str = r#"//! A service.
        use a_b::aidl::a::b::{IFoo::{BnFoo, IFoo}, P::P};
        use binder::{BinderFeatures, Interface, Strong};
        struct Foo;
        impl Interface for Foo {
            fn dump(
                &self,
                writer: &mut dyn std::io::Write,
                _: &[&std::ffi::CStr],
            ) -> Result<(), binder::StatusCode> {
                writer.write_all(b"x").or(Err(binder::StatusCode::UNKNOWN_ERROR))
            }
        }
        impl IFoo for Foo {
            fn f(&self, request: &P) -> binder::Result<P> {
                Ok(P { n: request.n, ..Default::default() })
            }
        }
        /// Makes one.
        pub fn new() -> Strong<dyn IFoo> {
            BnFoo::new_binder(Foo, BinderFeatures::default())
        }
    "#;

    /// What the compiler says of a tree with this crate root.
    fn checked(source: &str) -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            ("Cargo.toml", MANIFEST),
            ("Android.bp", ANDROID_BP),
            ("foo.rs", source),
            ("a/b/IFoo.aidl", "package a.b; import a.b.P; interface IFoo { P f(in P p); }"),
            ("a/b/P.aidl", "package a.b; parcelable P { int n; @nullable byte[] b; }"),
        ];
        for (name, text) in files {
            write_if_new(&dir.path().join(name), text).unwrap();
        }
        check(&Build {
            root: dir.path().to_owned(),
            out_dir: dir.path().join("target"),
            more_features: Vec::new(),
        })
    }

    #[test]
    fn a_service_as_aosp_has_it_compiles() {
        checked(SERVICE).unwrap_or_else(|error| panic!("{error:#}"));
    }

    #[test]
    fn what_soong_would_refuse_does_not_compile() {
        let one_argument = SERVICE.replace("Foo, BinderFeatures::default()", "Foo");
        let as_strings = SERVICE.replace("&std::ffi::CStr", "String");
        for (source, expected) in [
            (format!("{SERVICE}\n#[cfg(soong)]\nuse binder::IBinder as _;\n"), "unused import"),
            (format!("{SERVICE}\nuse log as _;\n"), "log"),
            (format!("{SERVICE}\npub fn no_comment() {{}}\n"), "missing documentation"),
            (one_argument, "BinderFeatures"),
            (as_strings, "dump"),
        ] {
            let error = format!("{:#}", checked(&source).expect_err(expected));
            assert!(error.contains("error") && error.contains(expected), "{expected}: {error}");
        }
    }
}
