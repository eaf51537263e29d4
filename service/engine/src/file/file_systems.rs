// SPDX-License-Identifier: Apache-2.0
//! The types of file systems that clients' files may lie on.

use std::sync::Arc;

/// Types that the kernel serves alone: no call on their files waits for a process or for another
/// machine. Left out are fuse and incremental-fs (a process answers, and may be the client's), nfs,
/// cifs, 9p and virtiofs (another machine answers), and proc, sysfs and their like (no content on
/// storage).
const WITHOUT_SERVER: [&str; 14] = [
    // /data and /metadata.
    "f2fs",
    "ext4",
    "ext3",
    "ext2",
    // /vendor and the other read-only partitions.
    "erofs",
    "squashfs",
    // Over those partitions after `adb remount`. Only root mounts one, and chooses what is below.
    "overlay",
    // Cards and sticks.
    "exfat",
    "vfat",
    // Linux machines, and devices built on one.
    "btrfs",
    "xfs",
    // Memory, and memfds.
    "hugetlbfs",
    "ramfs",
    "tmpfs",
];

/// The types of file systems that clients' files may lie on.
///
/// A file whose server does not answer holds the thread that touches it, in `statx(2)`, `open(2)`,
/// `read(2)` and `close(2)`, and no signal ends that. So the engine finds out the type of the file
/// system without asking its server, and refuses a file of a type that is not listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSystems {
    /// Any: for an engine whose clients harm only themselves.
    Any,
    /// Those listed, by their names in `/proc/self/mountinfo`.
    Only(Arc<[String]>),
}

impl FileSystems {
    /// Those without a server, and more that the device trusts.
    pub fn without_server_and(more: impl IntoIterator<Item = String>) -> Self {
        Self::Only(WITHOUT_SERVER.map(str::to_owned).into_iter().chain(more).collect())
    }
}

/// Whether no server is behind the files of this type.
pub(super) fn has_no_server(name: &str) -> bool {
    WITHOUT_SERVER.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_adds_types_and_takes_none_away() {
        let FileSystems::Only(listed) = FileSystems::without_server_and(["fuse".to_owned()]) else {
            panic!("a device lists its types");
        };
        for name in WITHOUT_SERVER.iter().chain(&["fuse"]) {
            assert!(listed.iter().any(|listed| listed == name), "{name}");
        }
        assert!(has_no_server("f2fs") && !has_no_server("fuse"));
    }
}
