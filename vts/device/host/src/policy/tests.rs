// SPDX-License-Identifier: Apache-2.0
//! Host tests of the policy: what it must refuse, what it must accept, and what the HAL gets by it.

mod rules;
mod surface;

use std::sync::LazyLock;

use tempfile::TempDir;

use super::*;

fn policy_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy")
}

fn sepolicy_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../sepolicy")
}

/// The policy as committed, as a user and as a userdebug build.
static COMMITTED: LazyLock<(TempDir, [Compiled; 2])> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let compiled = Variant::ALL.map(|variant| {
        compile(&policy_dir(), &sepolicy_dir(), variant, &dir.path().join(variant.to_string()))
            .unwrap_or_else(|error| panic!("{error:#}"))
    });
    (dir, compiled)
});

fn committed(variant: Variant) -> &'static Compiled {
    let (_, [user, userdebug]) = &*COMMITTED;
    match variant {
        Variant::User => user,
        Variant::Userdebug => userdebug,
    }
}

/// A copy of sepolicy/ in which one file has more lines.
fn sepolicy_with(file: &str, lines: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(sepolicy_dir()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let path = dir.path().join(file);
    let before = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, format!("{before}\n{lines}\n")).unwrap();
    dir
}

/// Compiles sepolicy/ with more lines in one file, as a userdebug build.
fn compile_with(file: &str, lines: &str) -> Result<()> {
    let sepolicy = sepolicy_with(file, lines);
    let out = tempfile::tempdir().unwrap();
    compile(&policy_dir(), sepolicy.path(), Variant::Userdebug, out.path()).map(drop)
}

#[test]
fn both_variants_compile() {
    for variant in Variant::ALL {
        let size = fs::metadata(&committed(variant).policy).unwrap().len();
        assert!(size > 10_000, "{variant}: {size} bytes");
    }
}

#[test]
fn labels_the_policy_does_not_know_are_refused() {
    let cases = [
        ("file_contexts", "/vendor/x u:object_r:no_such_type:s0"),
        ("file_contexts", "/vendor/( u:object_r:vendor_file:s0"),
        ("file_contexts", "/vendor/x -z u:object_r:vendor_file:s0"),
        ("service_contexts", "a.b.IFoo/default u:object_r:no_such_service:s0"),
        ("service_contexts", "a.b.IFoo/default"),
    ];
    for (file, line) in cases {
        assert!(compile_with(file, line).is_err(), "{file}: {line}");
    }
}

#[test]
fn double_labels_are_refused() {
    let cases = [
        ("file_contexts", "/dev/udmabuf u:object_r:device:s0"),
        ("file_contexts", "/dev/binder u:object_r:device:s0"),
        ("service_contexts", "manager u:object_r:vendor_hal_dmabuf_loader_service:s0"),
    ];
    for (file, line) in cases {
        let error = format!("{:#}", compile_with(file, line).expect_err(line));
        assert!(
            error.contains(" labels ") || error.contains("different specifications"),
            "{error}"
        );
    }
}

#[test]
fn fs_use_in_the_vendor_policy_is_refused() {
    for file in ["fs_use", "file.te"] {
        let line = "fs_use_trans hugetlbfs u:object_r:vendor_hugetlbfs:s0;";
        let error = format!("{:#}", compile_with(file, line).unwrap_err());
        assert!(error.contains(&format!("{file}:")) && error.contains("genfscon"), "{error}");
    }
    compile_with("file.te", "# No fs_use_trans: genfscon.").unwrap();
}

#[test]
fn errors_name_the_source() {
    let error = format!("{:#}", compile_with("file.te", "type 9;").unwrap_err());
    assert!(error.contains("file.te"), "{error}");
}
