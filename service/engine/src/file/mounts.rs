// SPDX-License-Identifier: Apache-2.0
//! The types of the file systems that this process sees mounted, by mount and by device number: the
//! kernel's table, parsed again whenever it has changed.
//!
//! No server of a file system is asked. An open file keeps its mount, so that the number of the
//! mount means no other one as long as the table is not older than the last change.
//!
//! Source: `proc_pid_mountinfo(5)`.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dmabuf_uapi::file_attributes::MountOf;
use rustix::event::{poll, PollFd, PollFlags, Timespec};

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// The mounts of this process.
#[derive(Debug)]
pub(super) struct Mounts {
    /// Polled for changes.
    watched: File,
    table: Mutex<Option<Table>>,
}

/// What the kernel said at one time.
#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    by_mount: HashMap<u64, Arc<str>>,
    by_device: HashMap<(u32, u32), Arc<str>>,
}

impl Mounts {
    /// Opens the kernel's table.
    ///
    /// # Errors
    /// Those of opening it.
    pub(super) fn watch() -> io::Result<Self> {
        Ok(Self { watched: File::open(MOUNTINFO)?, table: Mutex::new(None) })
    }

    /// The type of the file system there. `None` where this process sees no mount of it, and where
    /// the kernel's table cannot be read.
    pub(super) fn type_of(&self, place: MountOf) -> Option<Arc<str>> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        // In this order: a change during the reading is seen by the next question.
        if self.has_changed() {
            *table = None;
        }
        if table.is_none() {
            match std::fs::read_to_string(MOUNTINFO) {
                Ok(text) => *table = Some(Table::parse(&text)),
                Err(error) => log::error!("{MOUNTINFO}: {error}"),
            }
        }
        table.as_ref()?.type_of(place)
    }

    /// Whether anything was mounted or unmounted since the last question.
    fn has_changed(&self) -> bool {
        let mut fds = [PollFd::new(&self.watched, PollFlags::PRI)];
        let now = Timespec::try_from(Duration::ZERO).unwrap_or_default();
        poll(&mut fds, Some(&now)) != Ok(0)
    }
}

impl Table {
    fn parse(text: &str) -> Self {
        let mut table = Self::default();
        for (mount, device, name) in text.lines().filter_map(parse_line) {
            let name: Arc<str> = name.into();
            table.by_mount.insert(mount, Arc::clone(&name));
            table.by_device.insert(device, name);
        }
        table
    }

    /// A file that came from another mount namespace has a mount of its own there; its file system
    /// may be mounted here, too.
    fn type_of(&self, place: MountOf) -> Option<Arc<str>> {
        let by_mount = place.mount_id.and_then(|mount| self.by_mount.get(&mount));
        by_mount.or_else(|| self.by_device.get(&place.device)).cloned()
    }
}

/// Mount, device number and type: fields 1, 3, and the first after the separator, of which the
/// kernel escapes spaces.
fn parse_line(line: &str) -> Option<(u64, (u32, u32), &str)> {
    let mut fields = line.split(' ');
    let mount = fields.next()?.parse().ok()?;
    let (major, minor) = fields.nth(1)?.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    // Root, mount point and options may be "-".
    let name = fields.skip(3).skip_while(|field| *field != "-").nth(1)?;
    Some((mount, device, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - f2fs /dev/root rw,errors=continue
37 35 0:41 - /a\\040b rw - fuse.sshfs x rw
nonsense
38 35 0:42 / /c - shared:1 propagate_from:2 - tmpfs tmpfs rw
";

    fn of(mount_id: Option<u64>, device: (u32, u32)) -> Option<Arc<str>> {
        Table::parse(TEXT).type_of(MountOf { mount_id, device })
    }

    #[test]
    fn a_mount_has_the_type_of_its_line() {
        assert_eq!(of(Some(36), (98, 0)).as_deref(), Some("f2fs"));
        assert_eq!(of(Some(37), (0, 41)).as_deref(), Some("fuse.sshfs"));
        assert_eq!(of(Some(38), (0, 7)).as_deref(), Some("tmpfs"));
        assert_eq!(Table::parse(TEXT).by_mount.len(), 3);
    }

    #[test]
    fn a_mount_elsewhere_is_known_by_its_device() {
        assert_eq!(of(Some(99), (98, 0)).as_deref(), Some("f2fs"));
        assert_eq!(of(None, (0, 41)).as_deref(), Some("fuse.sshfs"));
        assert_eq!(of(Some(99), (98, 1)), None);
    }

    #[test]
    fn the_table_is_read_once_until_it_changes() {
        let mounts = Mounts::watch().unwrap();
        let proc = dmabuf_uapi::file_attributes::mount_of(&mounts.watched).unwrap();
        assert_eq!(mounts.type_of(proc).as_deref(), Some("proc"));
        // Stands for the kernel's table: it is asked again only after a change.
        *mounts.table.lock().unwrap() = Some(Table::parse(TEXT));
        let known = MountOf { mount_id: Some(36), device: (98, 0) };
        assert_eq!(mounts.type_of(known).as_deref(), Some("f2fs"));
        let unknown = MountOf { mount_id: Some(1 << 40), device: (4000, 1) };
        assert_eq!(mounts.type_of(unknown), None);
        assert_eq!(mounts.type_of(known).as_deref(), Some("f2fs"), "a miss reads nothing again");
    }
}
