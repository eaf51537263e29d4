// SPDX-License-Identifier: Apache-2.0
//! Compiles the SELinux policy of the device: the platform's from policy/, the vendor's from
//! sepolicy/, joined as Android's build joins them.

mod vendor_statements;

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};

use crate::command::{command, output};
use crate::files;

/// Version of the binary format: the newest that both checkpolicy of Debian 12 and Linux 6.12 know.
const POLICY_VERSION: &str = "33";

/// Lists the names of the source files in the order in which they are joined.
const ORDER_FILE: &str = "build_order";

/// What an Android build of vendor API level 202504 defines, besides the variant.
const DEFINITIONS: &[(&str, &str)] = &[
    ("mls_num_sens", "1"),
    ("mls_num_cats", "1024"),
    ("target_board_api_level", "202504"),
    ("target_compatible_property", "true"),
    ("target_enforce_debugfs_restriction", "true"),
    ("target_exclude_build_test", "false"),
    ("target_full_treble", "true"),
];

/// Kind of Android build: a tester has more rights in one than in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// What is sold: no root, no shell access to the service.
    User,
    /// What is tested: `su` is permissive, `shell` is a client of the service.
    Userdebug,
}

impl Variant {
    /// Every variant there is.
    pub const ALL: [Self; 2] = [Self::User, Self::Userdebug];
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Userdebug => "userdebug",
        })
    }
}

/// The files that a device image carries.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// Binary policy for the kernel.
    pub policy: PathBuf,
    /// Labels of paths, platform part; to be read before the vendor's.
    pub plat_file_contexts: PathBuf,
    /// Labels of paths, vendor part.
    pub vendor_file_contexts: PathBuf,
    /// Labels of binder services, platform part.
    pub plat_service_contexts: PathBuf,
    /// Labels of binder services, vendor part.
    pub vendor_service_contexts: PathBuf,
}

/// Compiles the policy and checks it: neverallow rules in every variant, labels in the wanted one.
pub fn compile(
    policy_dir: &Path,
    sepolicy_dir: &Path,
    variant: Variant,
    out_dir: &Path,
) -> Result<Compiled> {
    vendor_statements::refuse_fs_use(sepolicy_dir)?;
    for other in Variant::ALL {
        compile_binary(&[policy_dir, sepolicy_dir], other, out_dir)?;
    }
    let policy = binary_path(out_dir, variant);
    let contexts = |dir: &Path, part: &str, kind: &str| -> Result<PathBuf> {
        let target = out_dir.join(format!("{part}_{kind}"));
        fs::write(&target, m4(variant, &[], &[dir.join(kind)])?)
            .with_context(|| format!("cannot write {}", target.display()))?;
        Ok(target)
    };
    let compiled = Compiled {
        plat_file_contexts: contexts(policy_dir, "plat", "file_contexts")?,
        vendor_file_contexts: contexts(sepolicy_dir, "vendor", "file_contexts")?,
        plat_service_contexts: contexts(policy_dir, "plat", "service_contexts")?,
        vendor_service_contexts: contexts(sepolicy_dir, "vendor", "service_contexts")?,
        policy,
    };
    for file in [&compiled.plat_file_contexts, &compiled.vendor_file_contexts] {
        check_file_contexts(&compiled.policy, file)?;
    }
    refuse_duplicates(&[&compiled.plat_file_contexts, &compiled.vendor_file_contexts])?;
    for file in [&compiled.plat_service_contexts, &compiled.vendor_service_contexts] {
        check_service_contexts(&compiled.policy, file)?;
    }
    refuse_duplicates(&[&compiled.plat_service_contexts, &compiled.vendor_service_contexts])?;
    Ok(compiled)
}

fn binary_path(out_dir: &Path, variant: Variant) -> PathBuf {
    out_dir.join(format!("sepolicy.{variant}"))
}

/// Joins the sources of all directories and compiles them; a broken neverallow rule is an error.
fn compile_binary(dirs: &[&Path], variant: Variant, out_dir: &Path) -> Result<PathBuf> {
    files::create_dir(out_dir)?;
    let joined = out_dir.join(format!("policy.{variant}.conf"));
    // With -s the compiler's messages name the source files.
    fs::write(&joined, m4(variant, &["-s"], &sources(dirs)?)?)
        .with_context(|| format!("cannot write {}", joined.display()))?;
    let binary = binary_path(out_dir, variant);
    output(
        command("checkpolicy").args(["-M", "-c", POLICY_VERSION, "-o"]).args([&binary, &joined]),
    )
    .with_context(|| format!("the SELinux policy does not compile as a {variant} build"))?;
    Ok(binary)
}

/// The source files in the order in which the compiler wants them.
fn sources(dirs: &[&Path]) -> Result<Vec<PathBuf>> {
    let platform = dirs.first().context("no policy directory")?;
    let order_file = platform.join(ORDER_FILE);
    let order = fs::read_to_string(&order_file)
        .with_context(|| format!("cannot read {}", order_file.display()))?;
    let mut files = Vec::new();
    for name in entries(&order) {
        let before = files.len();
        for dir in dirs {
            match name.strip_prefix('*') {
                Some(suffix) => files.extend(with_suffix(dir, suffix)?),
                None => files.extend(Some(dir.join(name)).filter(|path| path.is_file())),
            }
        }
        ensure!(files.len() > before, "no policy directory has {name}");
    }
    Ok(files)
}

fn with_suffix(dir: &Path, suffix: &str) -> Result<Vec<PathBuf>> {
    let mut found = files::sorted(dir)?;
    found.retain(|path| files::name(path).ends_with(suffix));
    Ok(found)
}

fn m4(variant: Variant, options: &[&str], files: &[PathBuf]) -> Result<String> {
    let mut m4 = command("m4");
    m4.arg("--fatal-warnings").args(options);
    for (name, value) in DEFINITIONS {
        m4.arg(format!("-D{name}={value}"));
    }
    m4.arg(format!("-Dtarget_build_variant={variant}")).args(files);
    output(&mut m4)
}

/// Refuses bad expressions and contexts that the policy does not know.
fn check_file_contexts(policy: &Path, file: &Path) -> Result<()> {
    output(command("setfiles").arg("-c").args([policy, file]))
        .with_context(|| format!("{} does not fit the policy", file.display()))
        .map(drop)
}

/// Refuses lines that are not a name and a context, and contexts that the policy does not know.
fn check_service_contexts(policy: &Path, file: &Path) -> Result<()> {
    let text = fs::read_to_string(file)?;
    // setfiles is the tool at hand that validates contexts; it wants paths.
    let mut as_paths = String::new();
    for (number, line) in entries(&text).enumerate() {
        let &[_, context] = &line.split_whitespace().collect::<Vec<_>>()[..] else {
            bail!("{}: not a name and a context: {line}", file.display());
        };
        writeln!(as_paths, "/{number} {context}")?;
    }
    let converted = tempfile::NamedTempFile::new()?;
    fs::write(converted.path(), as_paths)?;
    check_file_contexts(policy, converted.path())
        .with_context(|| format!("{} does not fit the policy", file.display()))
}

/// Refuses a name with two labels: which of them holds would depend on the reader.
fn refuse_duplicates(files: &[&Path]) -> Result<()> {
    let mut seen: HashMap<String, &Path> = HashMap::new();
    for file in files {
        let text = fs::read_to_string(file)?;
        for line in entries(&text) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let key = words[..words.len() - 1].join(" ");
            if let Some(first) = seen.insert(key.clone(), file) {
                bail!("{} labels {key}, as {} does", file.display(), first.display());
            }
        }
    }
    Ok(())
}

fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests;
