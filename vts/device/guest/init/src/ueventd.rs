// SPDX-License-Identifier: Apache-2.0
//! ueventd.rc: who owns a device node, and with which mode.
//!
//! Accepted: `/dev/NAME MODE USER GROUP` and `/sys/PATH ATTRIBUTE MODE USER GROUP`, where a path
//! may hold `*` wildcards. Of several rules that match a node the last one holds.

use crate::ids::Ids;
use crate::words::{self, SyntaxError};

/// Owner and mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A node no rule names is for root alone.
pub const DEFAULT_PERMISSIONS: Permissions = Permissions { mode: 0o600, uid: 0, gid: 0 };

#[derive(Debug, Clone, PartialEq, Eq)]
struct DeviceRule {
    pattern: String,
    permissions: Permissions,
}

/// A rule about an attribute in sysfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysfsRule {
    /// Directory of the device; may hold wildcards.
    pub pattern: String,
    /// Name of the attribute in it.
    pub attribute: String,
    /// What to set.
    pub permissions: Permissions,
}

/// The rules of all files read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    devices: Vec<DeviceRule>,
    /// Rules about sysfs.
    pub sysfs: Vec<SysfsRule>,
}

impl Rules {
    /// Adds the rules of one file.
    pub fn add(&mut self, file: &str, text: &str, ids: &Ids) -> Result<(), SyntaxError> {
        for line in words::split(file, text)? {
            let error =
                |reason: String| SyntaxError { file: file.to_owned(), line: line.number, reason };
            let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
            let permissions = |mode: &str, user: &str, group: &str| {
                Ok(Permissions {
                    mode: words::mode(mode).map_err(error)?,
                    uid: ids.user(user).map_err(|e| error(e.to_string()))?,
                    gid: ids.group(group).map_err(|e| error(e.to_string()))?,
                })
            };
            match words[..] {
                [path, mode, user, group] if path.starts_with("/dev/") => {
                    self.devices.push(DeviceRule {
                        pattern: path.to_owned(),
                        permissions: permissions(mode, user, group)?,
                    });
                }
                [path, attribute, mode, user, group] if path.starts_with("/sys/") => {
                    self.sysfs.push(SysfsRule {
                        pattern: path.to_owned(),
                        attribute: attribute.to_owned(),
                        permissions: permissions(mode, user, group)?,
                    });
                }
                _ => return Err(error(format!("not a rule: '{}'", words.join(" ")))),
            }
        }
        Ok(())
    }

    /// Owner and mode of the device node at `path`.
    pub fn permissions(&self, path: &str) -> Permissions {
        self.devices
            .iter()
            .rev()
            .find(|rule| glob_matches(&rule.pattern, path))
            .map_or(DEFAULT_PERMISSIONS, |rule| rule.permissions)
    }
}

/// Whether `path` matches `pattern`, in which `*` stands for any characters but '/'; at the very
/// end of the pattern it stands for '/' too.
pub fn glob_matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((prefix, rest)) => {
            let Some(tail) = path.strip_prefix(prefix) else { return false };
            if rest.is_empty() {
                return true;
            }
            let reach = tail.find('/').unwrap_or(tail.len());
            (0..=reach)
                .filter(|end| tail.is_char_boundary(*end))
                .any(|end| glob_matches(rest, &tail[end..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Result<Rules, SyntaxError> {
        let mut rules = Rules::default();
        let mut ids = Ids::default();
        ids.add_passwd("vendor_dmabuf_loader::2950:2950::/:/vendor/bin/sh");
        ids.add_group("vendor_dmabuf_loader::2950:");
        rules.add("u.rc", text, &ids)?;
        Ok(rules)
    }

    #[test]
    fn last_match_holds() {
        let rules = rules(
            "/dev/udmabuf 0600 root root\n\
             /dev/dma_heap/* 0444 system system\n\
             /dev/dma_heap/system 0440 system camera\n\
             /dev/udmabuf 0660 vendor_dmabuf_loader vendor_dmabuf_loader\n\
             /sys/devices/x/* enable 0664 root system\n",
        )
        .unwrap();
        let show = |path| {
            let p = rules.permissions(path);
            (p.mode, p.uid, p.gid)
        };
        assert_eq!(show("/dev/udmabuf"), (0o660, 2950, 2950));
        assert_eq!(show("/dev/dma_heap/system"), (0o440, 1000, 1006));
        assert_eq!(show("/dev/dma_heap/reserved"), (0o444, 1000, 1000));
        assert_eq!(show("/dev/mem"), (0o600, 0, 0));
        assert_eq!(rules.sysfs[0].attribute, "enable");
    }

    #[test]
    fn errors_name_the_line() {
        for (text, expected) in [
            ("\n/dev/x 0999 root root", "u.rc:2: bad mode '0999'"),
            ("/dev/x 0600 nosuch root", "u.rc:1: unknown user 'nosuch'"),
            ("modalias_handling enabled", "u.rc:1: not a rule: 'modalias_handling enabled'"),
            ("/dev/x 0600 root", "u.rc:1: not a rule: '/dev/x 0600 root'"),
        ] {
            assert_eq!(rules(text).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn globs() {
        for (pattern, path, expected) in [
            ("/dev/a", "/dev/a", true),
            ("/dev/a", "/dev/ab", false),
            ("/dev/a*", "/dev/ab/c", true),
            ("/dev/*/x", "/dev/b/x", true),
            ("/dev/*/x", "/dev/b/c/x", false),
            ("/dev/v*p*x", "/dev/vport0p1x", true),
            ("/dev/v*p*x", "/dev/vport0p1", false),
        ] {
            assert_eq!(glob_matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}
