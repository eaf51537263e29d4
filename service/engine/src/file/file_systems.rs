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

/// File systems whose files have no content on storage, by `f_type` of `statfs(2)`
/// (`include/uapi/linux/magic.h` and `fs/nsfs.c`).
const WITHOUT_STORAGE_MAGICS: [u64; 12] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x6e73_6673, // nsfs
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0xf97c_ff8c, // selinuxfs
    0x6265_6570, // configfs
    0xcafe_4a11, // bpf
    0x6c6f_6f70, // binder
];

/// The types of file systems that clients' files may lie on.
///
/// A file whose server does not answer holds the thread that touches it, in `statx(2)`, `open(2)`,
/// `read(2)` and `close(2)`, and no signal ends that. So the engine finds out the type of the file
/// system without asking its server, and refuses a file of a type that is not listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSystems {
    /// Any with storage: for an engine whose clients harm only themselves.
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

/// Whether the files of a file system have no content on storage.
pub(super) fn has_no_storage(magic: u64) -> bool {
    WITHOUT_STORAGE_MAGICS.contains(&magic)
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
