// SPDX-License-Identifier: Apache-2.0
//! The commands of actions.

use crate::ids::Ids;
use crate::words::mode;

/// Owner, group and mode to set; those that are `None` are left alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ownership {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

/// A resource whose limit can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// `memlock`: bytes that may be locked into memory.
    Memlock,
    /// `nice`: 20 minus the lowest nice value that may be taken.
    Nice,
    /// `nofile`: one more than the highest file descriptor.
    Nofile,
}

/// A command of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `mkdir PATH [MODE [USER [GROUP]]]`
    Mkdir(String, Ownership),
    /// `chown USER [GROUP] PATH` and `chmod MODE PATH`
    Chown(String, Ownership),
    /// `write PATH TEXT`, to a file that exists
    Write(String, String),
    /// `symlink TARGET PATH`
    Symlink(String, String),
    /// `mount TYPE DEVICE DIR [FLAG...] [OPTIONS]`
    Mount {
        /// File-system type.
        fs_type: String,
        /// Device or name.
        device: String,
        /// Mount point.
        dir: String,
        /// Flags and options, as given.
        options: Vec<String>,
    },
    /// `restorecon PATH...` and `restorecon_recursive PATH...`
    Restorecon {
        /// What to label.
        paths: Vec<String>,
        /// With everything below it.
        recursive: bool,
    },
    /// `setrlimit RESOURCE CURRENT MAXIMUM`
    SetRlimit(Resource, u64, u64),
    /// `start SERVICE`
    Start(String),
    /// `class_start CLASS`
    ClassStart(String),
    /// `wait_for_prop NAME VALUE`
    WaitForProp(String, String),
}

impl Command {
    /// Reads a command from the words of its line.
    pub(super) fn parse(words: &[&str], ids: &Ids) -> Result<Self, String> {
        let user = |name: &str| ids.user(name).map_err(|e| e.to_string());
        let group = |name: &str| ids.group(name).map_err(|e| e.to_string());
        let owned = |word: &str| word.to_owned();
        Ok(match *words {
            ["mkdir", path] => Self::Mkdir(absolute(path)?, Ownership::default()),
            ["mkdir", path, bits, ref owner @ ..] if owner.len() <= 2 => {
                let uid = owner.first().map(|name| user(name)).transpose()?;
                let gid = owner.get(1).map(|name| group(name)).transpose()?;
                Self::Mkdir(absolute(path)?, Ownership { mode: Some(mode(bits)?), uid, gid })
            }
            ["chown", owner, path] => Self::Chown(
                absolute(path)?,
                Ownership { uid: Some(user(owner)?), ..Ownership::default() },
            ),
            ["chown", owner, owner_group, path] => Self::Chown(
                absolute(path)?,
                Ownership { uid: Some(user(owner)?), gid: Some(group(owner_group)?), mode: None },
            ),
            ["chmod", bits, path] => Self::Chown(
                absolute(path)?,
                Ownership { mode: Some(mode(bits)?), ..Ownership::default() },
            ),
            ["write", path, text] => Self::Write(absolute(path)?, owned(text)),
            ["symlink", target, path] => Self::Symlink(owned(target), absolute(path)?),
            ["mount", fs_type, device, dir, ref options @ ..] => Self::Mount {
                fs_type: owned(fs_type),
                device: owned(device),
                dir: absolute(dir)?,
                options: options.iter().map(|option| owned(option)).collect(),
            },
            [name @ ("restorecon" | "restorecon_recursive"), _, ..] => Self::Restorecon {
                paths: words[1..].iter().map(|path| absolute(path)).collect::<Result<_, _>>()?,
                recursive: name == "restorecon_recursive",
            },
            ["setrlimit", resource, current, maximum] => {
                let number = |text: &str| text.parse().map_err(|_| format!("bad limit '{text}'"));
                let resource = match resource {
                    "memlock" => Resource::Memlock,
                    "nice" => Resource::Nice,
                    "nofile" => Resource::Nofile,
                    _ => return Err(format!("unknown resource '{resource}'")),
                };
                Self::SetRlimit(resource, number(current)?, number(maximum)?)
            }
            ["start", service] => Self::Start(owned(service)),
            ["class_start", class] => Self::ClassStart(owned(class)),
            ["wait_for_prop", name, value] => Self::WaitForProp(owned(name), owned(value)),
            _ => return Err(format!("unknown command '{}'", words.join(" "))),
        })
    }
}

fn absolute(path: &str) -> Result<String, String> {
    if path.starts_with('/') {
        Ok(path.to_owned())
    } else {
        Err(format!("'{path}' is not an absolute path"))
    }
}
