// SPDX-License-Identifier: Apache-2.0
//! User and group names: Android's fixed ids, and the vendor's from passwd and group files.

use std::collections::HashMap;

/// `root`.
pub const AID_ROOT: u32 = 0;
/// `system`.
pub const AID_SYSTEM: u32 = 1000;
/// `cameraserver`.
pub const AID_CAMERASERVER: u32 = 1047;
/// `shell`.
pub const AID_SHELL: u32 = 2000;
/// The first id of applications.
pub const AID_APP_START: u32 = 10000;

/// Supplementary groups of an `adb shell`.
pub const ADB_SHELL_GROUPS: [u32; 12] =
    [1004, 1007, 1011, 1015, 1028, 3001, 3002, 3003, 3006, 3009, 3011, 3012];

const FIXED: &[(&str, u32)] = &[
    ("root", AID_ROOT),
    ("daemon", 1),
    ("bin", 2),
    ("sys", 3),
    ("system", AID_SYSTEM),
    ("radio", 1001),
    ("bluetooth", 1002),
    ("graphics", 1003),
    ("input", 1004),
    ("audio", 1005),
    ("camera", 1006),
    ("log", 1007),
    ("compass", 1008),
    ("mount", 1009),
    ("wifi", 1010),
    ("adb", 1011),
    ("install", 1012),
    ("media", 1013),
    ("dhcp", 1014),
    ("sdcard_rw", 1015),
    ("vpn", 1016),
    ("keystore", 1017),
    ("usb", 1018),
    ("drm", 1019),
    ("gps", 1021),
    ("media_rw", 1023),
    ("mtp", 1024),
    ("drmrpc", 1026),
    ("nfc", 1027),
    ("sdcard_r", 1028),
    ("mediadrm", 1031),
    ("logd", 1036),
    ("mediaex", 1040),
    ("audioserver", 1041),
    ("mediacodec", 1046),
    ("cameraserver", AID_CAMERASERVER),
    ("shell", AID_SHELL),
    ("cache", 2001),
    ("diag", 2002),
    ("net_bt_admin", 3001),
    ("net_bt", 3002),
    ("inet", 3003),
    ("net_raw", 3004),
    ("net_admin", 3005),
    ("net_bw_stats", 3006),
    ("readproc", 3009),
    ("wakelock", 3010),
    ("uhid", 3011),
    ("readtracefs", 3012),
    ("everybody", 9997),
    ("misc", 9998),
    ("nobody", 9999),
];

/// A name that is neither known nor a number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} '{name}'")]
pub struct UnknownId {
    /// "user" or "group".
    pub kind: &'static str,
    /// The name that was looked up.
    pub name: String,
}

/// The users and groups of the device.
#[derive(Debug, Clone)]
pub struct Ids {
    users: HashMap<String, u32>,
    groups: HashMap<String, u32>,
}

impl Default for Ids {
    fn default() -> Self {
        let fixed: HashMap<String, u32> =
            FIXED.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect();
        Self { users: fixed.clone(), groups: fixed }
    }
}

impl Ids {
    /// Adds the entries of a passwd file (`name:password:uid:...`); other lines are ignored.
    pub fn add_passwd(&mut self, text: &str) {
        self.users.extend(entries(text));
    }

    /// Adds the entries of a group file (`name:password:gid:...`); other lines are ignored.
    pub fn add_group(&mut self, text: &str) {
        self.groups.extend(entries(text));
    }

    /// The id of a user given by name or number.
    pub fn user(&self, name: &str) -> Result<u32, UnknownId> {
        lookup(&self.users, "user", name)
    }

    /// The id of a group given by name or number.
    pub fn group(&self, name: &str) -> Result<u32, UnknownId> {
        lookup(&self.groups, "group", name)
    }
}

fn entries(text: &str) -> impl Iterator<Item = (String, u32)> + '_ {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let id = fields.nth(1)?.parse().ok()?;
        Some((name.to_owned(), id))
    })
}

fn lookup(names: &HashMap<String, u32>, kind: &'static str, name: &str) -> Result<u32, UnknownId> {
    match names.get(name) {
        Some(id) => Ok(*id),
        None => name.parse().map_err(|_| UnknownId { kind, name: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let mut ids = Ids::default();
        assert_eq!(ids.user("cameraserver"), Ok(1047));
        assert_eq!(ids.group("2950"), Ok(2950));
        assert!(ids.user("vendor_dmabuf_loader").is_err());
        ids.add_passwd("# none\nvendor_dmabuf_loader::2950:2950::/:/vendor/bin/sh\nbroken:x\n");
        ids.add_group("vendor_dmabuf_loader::2951:\n");
        assert_eq!(ids.user("vendor_dmabuf_loader"), Ok(2950));
        assert_eq!(ids.group("vendor_dmabuf_loader"), Ok(2951));
        assert_eq!(ids.group("nosuch").unwrap_err().to_string(), "unknown group 'nosuch'");
    }
}
