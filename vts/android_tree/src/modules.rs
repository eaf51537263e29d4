// SPDX-License-Identifier: Apache-2.0
//! The modules of a source tree, and what Soong would refuse of them.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, Context, Result};

use crate::android_bp::{self, Properties};
use crate::source_text::{files_named, files_with_extension};

/// A module with what its `defaults` give it.
#[derive(Debug, Clone)]
pub struct Module {
    /// The directory of its Android.bp file.
    pub dir: PathBuf,
    /// The module type, for example `rust_library`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its properties, merged with those of its defaults.
    pub properties: Properties,
}

impl Module {
    /// Whether it is a library, a program or a test in Rust.
    pub fn is_rust(&self) -> bool {
        ["rust_library", "rust_binary", "rust_test"].contains(&self.kind.as_str())
    }

    /// Whether it is a test whose `main` the compiler writes.
    pub fn has_test_harness(&self) -> bool {
        self.kind == "rust_test" && self.properties.flag("test_harness", true)
    }

    /// The name of its crate: by default the module's.
    pub fn crate_name(&self) -> String {
        let own = self.properties.string("crate_name");
        own.map_or_else(|| self.name.replace(['-', '.'], "_"), str::to_owned)
    }

    fn problem(&self, text: &str) -> String {
        format!("{}: {}: {text}", self.dir.join("Android.bp").display(), self.name)
    }
}

/// Reads every Android.bp file below `root`.
///
/// # Errors
/// A file that cannot be read or parsed, a module without a name, a name that two modules have, and
/// unknown defaults.
pub fn read(root: &Path) -> Result<Vec<Module>> {
    let mut modules: Vec<Module> = Vec::new();
    for file in files_named(root, "Android.bp")? {
        let text = fs::read_to_string(&file)?;
        let parsed =
            android_bp::parse(&text).map_err(|error| anyhow!("{}:\n{error}", file.display()))?;
        let dir = file.parent().context("a file without a directory")?.to_owned();
        for android_bp::Module { kind, properties } in parsed {
            if kind == "package" {
                continue;
            }
            let name = properties
                .string("name")
                .with_context(|| format!("{}: a module {kind} without a name", file.display()))?;
            if modules.iter().any(|other| other.name == name) {
                bail!("{}: a second module {name}", file.display());
            }
            modules.push(Module { dir: dir.clone(), kind, name: name.to_owned(), properties });
        }
    }
    let defaults: HashMap<String, Properties> = modules
        .iter()
        .filter(|module| module.kind.ends_with("_defaults"))
        .map(|module| (module.name.clone(), module.properties.clone()))
        .collect();
    for module in &mut modules {
        module.properties = resolved(&module.name, module.properties.clone(), &defaults)?;
    }
    Ok(modules)
}

fn resolved(
    name: &str,
    own: Properties,
    defaults: &HashMap<String, Properties>,
) -> Result<Properties> {
    let mut under = Properties::default();
    for wanted in own.strings("defaults") {
        let found =
            defaults.get(wanted).with_context(|| format!("{name}: no rust_defaults {wanted}"))?;
        under = resolved(wanted, found.clone(), defaults)?.over(under);
    }
    Ok(own.over(under))
}

/// Libraries whose name, crate name and file name do not agree.
///
/// Soong requires that the library's file name begins with `lib<crate_name>`. `stem`, else the
/// module's name, is the file name.
pub fn library_names(modules: &[Module]) -> Vec<String> {
    let libraries = modules.iter().filter(|module| module.kind == "rust_library");
    libraries
        .filter_map(|module| {
            let expected = format!("lib{}", module.properties.string("crate_name").unwrap_or("?"));
            let stem = module.properties.string("stem").unwrap_or(&module.name);
            (module.name != expected || stem != expected).then(|| {
                module.problem(&format!("name and stem must be lib<crate_name>, {expected:?}"))
            })
        })
        .collect()
}

/// Source files that are named and not there.
pub fn missing_sources(modules: &[Module]) -> Vec<String> {
    let mut problems = Vec::new();
    for module in modules {
        let sources = module.properties.strings("srcs");
        if module.is_rust() && sources.len() != 1 {
            problems.push(module.problem("a Rust module has one file in srcs, its crate root"));
        }
        let named = ["init_rc"].into_iter().flat_map(|name| module.properties.strings(name));
        let named = named.chain(module.properties.string("test_config"));
        let named = named.chain(module.properties.string("src"));
        for source in sources.into_iter().chain(named) {
            let found = match source.split_once('*') {
                None => module.dir.join(source).is_file(),
                Some((dir, suffix)) => has_file_with_suffix(&module.dir.join(dir), suffix),
            };
            if !found {
                problems.push(module.problem(&format!("no file {source}")));
            }
        }
    }
    problems
}

fn has_file_with_suffix(dir: &Path, suffix: &str) -> bool {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.into_iter().any(|file| file.file_name().to_string_lossy().ends_with(suffix))
}

/// Crates that a Cargo.toml file lists and the Android.bp file beside it does not, and the reverse.
///
/// # Errors
/// A Cargo.toml file that cannot be read.
pub fn dependencies(modules: &[Module]) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let dirs: BTreeSet<&PathBuf> =
        modules.iter().filter(|module| module.is_rust()).map(|module| &module.dir).collect();
    for dir in dirs {
        let manifest = Manifest::read(&dir.join("Cargo.toml"))?;
        let here: Vec<&Module> =
            modules.iter().filter(|module| module.is_rust() && module.dir == *dir).collect();
        let listed: BTreeSet<&str> =
            here.iter().flat_map(|module| module.properties.strings("rustlibs")).collect();
        let file = dir.join("Android.bp");
        for name in &manifest.dependencies {
            let library = library_of(name, modules);
            if !listed.contains(library.as_str()) {
                problems.push(format!("{}: no rustlib {library} for {name}", file.display()));
            }
        }
        let known: Vec<String> = [&manifest.dependencies, &manifest.dev_dependencies]
            .into_iter()
            .flatten()
            .map(|name| library_of(name, modules))
            .chain(here.iter().map(|module| module.name.clone()))
            .collect();
        for library in listed.iter().filter(|library| !known.iter().any(|own| own == *library)) {
            problems.push(format!("{}: Cargo.toml has no crate of {library}", file.display()));
        }
    }
    Ok(problems)
}

/// Sources that read a variable of Cargo's when they are compiled, which Soong does not set.
///
/// # Errors
/// A source that cannot be read.
pub fn cargo_variables(modules: &[Module]) -> Result<Vec<String>> {
    let mut files = BTreeSet::new();
    for module in modules.iter().filter(|module| module.is_rust()) {
        for root in module.properties.strings("srcs") {
            let root = module.dir.join(root);
            let dir = root.parent().context("a file without a directory")?;
            files.extend(files_with_extension(dir, "rs")?);
        }
    }
    let mut problems = Vec::new();
    for path in files {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for (index, line) in text.lines().enumerate() {
            let code: String = line.chars().filter(|letter| !letter.is_whitespace()).collect();
            if code.contains("env!(\"CARGO") {
                problems.push(format!("{}:{}: {}", path.display(), index + 1, line.trim()));
            }
        }
    }
    Ok(problems)
}

/// Module names of AOSP that do not follow `lib<crate>`, with their crates.
const RENAMED: [(&str, &str); 3] = [
    ("log", "liblog_rust"),
    ("binder", "libbinder_rs"),
    ("vendor_dmabuf_loader", "vendor.dmabuf.loader-V1-rust"),
];

/// The module of a crate: one of this tree, or AOSP's.
pub fn library_of(crate_name: &str, modules: &[Module]) -> String {
    let crate_name = crate_name.replace('-', "_");
    if let Some((_, library)) = RENAMED.iter().find(|(name, _)| *name == crate_name) {
        return (*library).to_owned();
    }
    let own = modules
        .iter()
        .find(|module| module.kind == "rust_library" && module.crate_name() == crate_name);
    own.map_or_else(|| format!("lib{crate_name}"), |module| module.name.clone())
}

/// What a Cargo.toml file says of dependencies on a device.
struct Manifest {
    dependencies: Vec<String>,
    dev_dependencies: Vec<String>,
}

impl Manifest {
    fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let manifest: toml::Table =
            text.parse().with_context(|| format!("cannot parse {}", path.display()))?;
        let names = |table: Option<&toml::Value>| -> Vec<String> {
            let table = table.and_then(toml::Value::as_table);
            table.into_iter().flat_map(|table| table.keys().cloned()).collect()
        };
        let mut dependencies = names(manifest.get("dependencies"));
        // The other targets are those of hosts.
        let android = manifest
            .get("target")
            .and_then(|targets| targets.get("cfg(target_os = \"android\")"))
            .and_then(|target| target.get("dependencies"));
        dependencies.extend(names(android));
        Ok(Self { dependencies, dev_dependencies: names(manifest.get("dev-dependencies")) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn a_library_is_named_after_its_crate() {
        for (properties, refused) in [
            ("name: \"libx_y\", crate_name: \"x_y\"", false),
            ("name: \"libx_y\", crate_name: \"x_y\", stem: \"libx_y\"", false),
            ("name: \"libdmabuf_x\", crate_name: \"x\"", true),
            ("name: \"libx\", crate_name: \"x\", stem: \"libother\"", true),
            ("name: \"libx\"", true),
        ] {
            let bp = format!("rust_library {{ {properties} }}");
            let modules = read(tree(&[("Android.bp", &bp)]).path()).unwrap();
            assert_eq!(library_names(&modules).len(), usize::from(refused), "{properties}");
        }
    }

    #[test]
    fn a_missing_source_is_reported() {
        let tree = tree(&[
            (
                "Android.bp",
                "rust_binary { name: \"x\", srcs: [\"src/main.rs\"], init_rc: [\"x.rc\"] }",
            ),
            ("src/main.rs", ""),
        ]);
        let problems = missing_sources(&read(tree.path()).unwrap());
        assert!(matches!(&problems[..], [one] if one.contains("no file x.rc")), "{problems:?}");
    }

    #[test]
    fn dependencies_of_cargo_and_soong_are_the_same() {
        let manifest = "[dependencies]\nlog = \"1\"\na-b = \"1\"\n\
            [target.'cfg(target_os = \"android\")'.dependencies]\nc = \"1\"\n\
            [target.'cfg(not(target_os = \"android\"))'.dependencies]\nd = \"1\"\n";
        let check = |rustlibs: &str| {
            let bp = format!(
                "rust_defaults {{ name: \"d\", rustlibs: [\"liblog_rust\"] }}\n\
                 rust_library {{ name: \"libx\", defaults: [\"d\"], rustlibs: [{rustlibs}] }}"
            );
            let tree = tree(&[("Android.bp", &bp), ("Cargo.toml", manifest)]);
            dependencies(&read(tree.path()).unwrap()).unwrap()
        };
        assert_eq!(check("\"liba_b\", \"libc\""), [] as [&str; 0]);
        assert!(matches!(&check("\"libc\"")[..], [one] if one.contains("liba_b for a-b")));
        assert!(matches!(&check("\"liba_b\"")[..], [one] if one.contains("libc for c")));
        assert!(matches!(
            &check("\"liba_b\", \"libc\", \"libz\"")[..],
            [one] if one.contains("no crate of libz")
        ));
    }

    #[test]
    fn a_variable_of_cargo_is_found_in_sources_of_modules_only() {
        let reads = "fn f() { env!( \"CARGO_MANIFEST_DIR\"); }\nfn g() { option_env!(\"CARGO\"); }";
        let tree = tree(&[
            ("Android.bp", "rust_library { name: \"liba\", srcs: [\"src/lib.rs\"] }"),
            ("src/lib.rs", "fn f() { std::env::var(\"CARGO\"); }"),
            ("src/deep/b.rs", reads),
            ("build.rs", reads),
            ("tests/t.rs", reads),
        ]);
        let problems = cargo_variables(&read(tree.path()).unwrap()).unwrap();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems.iter().all(|problem| problem.contains("src/deep/b.rs:")), "{problems:?}");
    }

    #[test]
    fn unknown_defaults_and_names_given_twice_are_errors() {
        let twice = "cc_library { name: \"a\" } cc_library { name: \"a\" }";
        for text in ["rust_library { name: \"a\", defaults: [\"no\"] }", twice, "m { x: 1 }"] {
            assert!(read(tree(&[("Android.bp", text)]).path()).is_err(), "{text}");
        }
    }
}
