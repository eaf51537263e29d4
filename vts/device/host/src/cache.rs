// SPDX-License-Identifier: Apache-2.0
//! Build results kept between runs and between checkouts, named by a hash of what they are made
//! from.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use rustix::fs::{flock, FlockOperation};
use sha2::{Digest, Sha256};

use crate::files;

/// How many entries of each kind are kept.
const KEPT_ENTRIES: usize = 3;

/// Written into an entry at each use; its age orders the entries.
const USED_FILE: &str = "used";

/// Directory of the cache: `$DMABUF_VTS_CACHE`, else `dmabuf-loader-vts` in the user's cache.
pub fn root() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(dir) = variable("DMABUF_VTS_CACHE") {
        return std::path::absolute(dir).context("DMABUF_VTS_CACHE");
    }
    let base = match (variable("XDG_CACHE_HOME"), variable("HOME")) {
        (Some(dir), _) => dir,
        (None, Some(home)) => home.join(".cache"),
        (None, None) => {
            anyhow::bail!("no place for the cache: set DMABUF_VTS_CACHE or HOME")
        }
    };
    Ok(base.join("dmabuf-loader-vts"))
}

/// Collects what a build result depends on.
#[derive(Default)]
pub struct Key(Sha256);

impl Key {
    /// Adds one input; the name keeps inputs of different meaning apart.
    pub fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        for bytes in [name.as_bytes(), value.as_ref()] {
            self.0.update((bytes.len() as u64).to_le_bytes());
            self.0.update(bytes);
        }
    }

    /// The key as a file name.
    pub fn finish(self) -> String {
        let digest = self.0.finalize();
        hex::encode(&digest[..16])
    }
}

/// Holds a lock file until it is dropped; the kernel releases it if the process dies.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "held for its lock")] File);

impl Lock {
    /// Waits until no other process holds the lock; `waiting` is called before a wait.
    pub fn take(path: &Path, waiting: impl FnOnce()) -> Result<Self> {
        if let Some(parent) = path.parent() {
            files::create_dir(parent)?;
        }
        let file = files::create(path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            waiting();
            flock(&file, FlockOperation::LockExclusive)
                .with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(Self(file))
    }
}

/// The directories of one build.
#[derive(Debug)]
pub struct BuildDirs {
    /// Scratch space: left alone when a build is cut short, so that the next can go on from there.
    pub work: PathBuf,
    /// Becomes the entry when the build succeeds.
    pub result: PathBuf,
}

/// Returns the entry `key` of the given kind, after building it if there is none.
pub fn entry(
    root: &Path,
    kind: &str,
    key: &str,
    waiting: impl FnOnce(),
    build: impl FnOnce(&BuildDirs) -> Result<()>,
) -> Result<PathBuf> {
    let dir = root.join(kind);
    let _lock = Lock::take(&dir.join("lock"), waiting)?;
    let entry = dir.join(key);
    if !entry.is_dir() {
        let dirs = BuildDirs {
            work: dir.join(format!("{key}.work")),
            result: dir.join(format!("{key}.result")),
        };
        remove_leftovers(&dir, &dirs.work)?;
        for path in [&dirs.work, &dirs.result] {
            files::create_dir(path)?;
        }
        build(&dirs)?;
        fs::rename(&dirs.result, &entry)?;
        fs::remove_dir_all(&dirs.work)?;
    }
    fs::write(entry.join(USED_FILE), "")?;
    prune(&dir)?;
    Ok(entry)
}

/// Removes what unfinished builds left behind, except the scratch space `keep`.
fn remove_leftovers(dir: &Path, keep: &Path) -> Result<()> {
    for path in files::sorted(dir)? {
        let leftover = path.extension().is_some_and(|e| e == "work" || e == "result");
        if leftover && path != keep {
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

fn prune(dir: &Path) -> Result<()> {
    let mut entries: Vec<(SystemTime, PathBuf)> = Vec::new();
    for path in files::sorted(dir)? {
        if let Ok(used) = fs::metadata(path.join(USED_FILE)) {
            entries.push((used.modified()?, path));
        }
    }
    entries.sort();
    for (_, path) in entries.iter().rev().skip(KEPT_ENTRIES) {
        fs::remove_dir_all(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(inputs: &[(&str, &str)]) -> String {
        let mut key = Key::default();
        for (name, value) in inputs {
            key.add(name, value);
        }
        key.finish()
    }

    #[test]
    fn keys_differ_with_any_input() {
        let keys = [
            key(&[("a", "bc")]),
            key(&[("ab", "c")]),
            key(&[("a", "b"), ("c", "")]),
            key(&[("c", ""), ("a", "b")]),
            key(&[]),
        ];
        for (i, one) in keys.iter().enumerate() {
            assert_eq!(one.len(), 32);
            assert!(keys[i + 1..].iter().all(|other| other != one));
        }
        assert_eq!(key(&[("a", "b")]), key(&[("a", "b")]));
    }

    #[test]
    fn built_once() {
        let root = tempfile::tempdir().unwrap();
        let get = |built: &mut bool| {
            entry(
                root.path(),
                "k",
                "1",
                || (),
                |dirs| {
                    *built = true;
                    fs::write(dirs.result.join("x"), "1")?;
                    Ok(())
                },
            )
            .unwrap()
        };
        let mut built = false;
        let path = get(&mut built);
        assert!(built);
        assert_eq!(fs::read_to_string(path.join("x")).unwrap(), "1");
        let mut built = false;
        assert_eq!(get(&mut built), path);
        assert!(!built);
        assert!(!root.path().join("k/1.work").exists());
    }

    #[test]
    fn failed_build_leaves_its_work_and_no_entry() {
        let root = tempfile::tempdir().unwrap();
        let fail = |dirs: &BuildDirs| {
            fs::write(dirs.work.join("object"), "")?;
            fs::write(dirs.result.join("half"), "")?;
            anyhow::bail!("no")
        };
        assert!(entry(root.path(), "k", "1", || (), fail).is_err());
        entry(
            root.path(),
            "k",
            "1",
            || (),
            |dirs| {
                assert!(dirs.work.join("object").exists());
                assert!(!dirs.result.join("half").exists());
                Ok(())
            },
        )
        .unwrap();
        assert!(entry(root.path(), "k", "2", || (), fail).is_err());
        entry(root.path(), "k", "3", || (), |_| Ok(())).unwrap();
        assert!(!root.path().join("k/2.work").exists());
    }

    #[test]
    fn newest_entries_are_kept() {
        let root = tempfile::tempdir().unwrap();
        for (age, name) in ["5", "4", "3", "2"].iter().enumerate() {
            let path = entry(root.path(), "k", name, || (), |_| Ok(())).unwrap();
            let old = SystemTime::now() - Duration::from_secs(60 - age as u64);
            File::options()
                .write(true)
                .open(path.join(USED_FILE))
                .unwrap()
                .set_modified(old)
                .unwrap();
        }
        entry(root.path(), "k", "4", || (), |_| unreachable!()).unwrap();
        entry(root.path(), "k", "1", || (), |_| Ok(())).unwrap();
        let left = ["1", "2", "3", "4", "5"].map(|name| root.path().join("k").join(name).exists());
        assert_eq!(left, [true, true, false, true, false]);
    }

    #[test]
    fn lock_excludes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::take(&path, || unreachable!()).unwrap();
        let other = File::create(&path).unwrap();
        assert!(flock(&other, FlockOperation::NonBlockingLockExclusive).is_err());
        drop(held);
        flock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
    }
}
