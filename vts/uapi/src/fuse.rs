// SPDX-License-Identifier: Apache-2.0
//! A FUSE file system with one file, whose server can fall silent.
//!
//! Source: `include/uapi/linux/fuse.h` of Linux 6.12, `mount(2)`.

use std::ffi::{CString, OsStr};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;

use dmabuf_uapi::last_errno;
use rustix::io::{Errno, Result};

const FUSE_LOOKUP: u32 = 1;
const FUSE_GETATTR: u32 = 3;
const FUSE_OPEN: u32 = 14;
const FUSE_INIT: u32 = 26;

/// `struct fuse_in_header`: length, opcode, unique, node, and what is not looked at.
const IN_HEADER_BYTES: usize = 40;
/// More than `FUSE_MIN_READ_BUFFER`, with room for what the kernel may write.
const REQUEST_BYTES: usize = 128 << 10;
const MAX_WRITE_BYTES: u32 = 4096;

const ROOT: u64 = 1;
const FILE: u64 = 2;
/// The name of the file in the mounted directory.
const FILE_NAME: &str = "file";
/// The size that the server says the file has.
const FILE_BYTES: u64 = 64 << 10;

/// A mounted file system and its server, until it is dropped: then the connection is aborted, and
/// every call that waits for the server ends.
#[derive(Debug)]
pub struct SilentFuse {
    mount_point: PathBuf,
    is_silent: Arc<AtomicBool>,
}

impl SilentFuse {
    /// Mounts it on a directory. The server answers until it is told to be silent.
    ///
    /// # Errors
    /// Those of opening `/dev/fuse` and of `mount(2)`: `PERM` without `CAP_SYS_ADMIN`.
    pub fn mount(directory: &Path) -> Result<Self> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let device = device.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let options =
            format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        let mount_point = c_string(directory.as_os_str())?;
        let options = c_string(OsStr::new(&options))?;
        // SAFETY: all four pointers are to NUL-terminated strings that outlive the call, which only
        // reads them.
        let mounted = unsafe {
            libc::mount(
                c"fuse".as_ptr(),
                mount_point.as_ptr(),
                c"fuse".as_ptr(),
                0,
                options.as_ptr().cast(),
            )
        };
        if mounted != 0 {
            return Err(last_errno());
        }
        let is_silent = Arc::new(AtomicBool::new(false));
        let silence = Arc::clone(&is_silent);
        thread::spawn(move || serve(device, &silence));
        Ok(Self { mount_point: directory.to_owned(), is_silent })
    }

    /// The file.
    pub fn file(&self) -> PathBuf {
        self.mount_point.join(FILE_NAME)
    }

    /// From now on the server reads requests and answers none.
    pub fn fall_silent(&self) {
        self.is_silent.store(true, Ordering::Relaxed);
    }
}

impl Drop for SilentFuse {
    fn drop(&mut self) {
        let Ok(mount_point) = c_string(self.mount_point.as_os_str()) else { return };
        // The first aborts the connection, the second unmounts what is still in use.
        for flags in [libc::MNT_FORCE, libc::MNT_DETACH] {
            // SAFETY: the pointer is to a NUL-terminated string that outlives the call, which only
            // reads it.
            unsafe { libc::umount2(mount_point.as_ptr(), flags) };
        }
    }
}

fn c_string(text: &OsStr) -> Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| Errno::INVAL)
}

/// Answers until the connection ends.
fn serve(mut device: File, is_silent: &AtomicBool) {
    let mut request = vec![0; REQUEST_BYTES];
    loop {
        match device.read(&mut request) {
            Ok(len) if len >= IN_HEADER_BYTES => {
                if !is_silent.load(Ordering::Relaxed) {
                    // A request that was given up meanwhile wants no answer.
                    let _ = device.write(&answer(&request[..len]));
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // Unmounted or aborted.
            Ok(_) | Err(_) => return,
        }
    }
}

/// A message for the kernel, in its byte order.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    /// `struct fuse_attr`.
    fn attributes(self, node: u64) -> Self {
        let (mode, size_bytes) = match node {
            ROOT => (libc::S_IFDIR | 0o755, 0),
            _ => (libc::S_IFREG | 0o666, FILE_BYTES),
        };
        let with_sizes = self.u64(node).u64(size_bytes).u64(size_bytes.div_ceil(512));
        // Times: seconds and nanoseconds.
        let with_times = with_sizes.u64(0).u64(0).u64(0).u32(0).u32(0).u32(0);
        // Mode, links, uid, gid, device, block size, flags.
        with_times.u32(mode).u32(1).u32(0).u32(0).u32(0).u32(4096).u32(0)
    }
}

/// `struct fuse_out_header` and what follows it. The kernel may keep nothing that the server says:
/// every time is 0.
fn answer(request: &[u8]) -> Vec<u8> {
    let word = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|byte| request[at + byte]));
    let long =
        |at: usize| u64::from_ne_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|byte| request[at + byte]));
    let (opcode, unique, node) = (word(4), long(8), long(16));
    let body = match opcode {
        FUSE_INIT => Ok(Message::default()
            // Version, read-ahead, flags, background requests, the largest write.
            .u32(7)
            .u32(31)
            .u32(0)
            .u32(0)
            .u16(0)
            .u16(0)
            .u32(MAX_WRITE_BYTES)
            // Granularity of times, pages, alignment of maps, flags, and what is not used.
            .u32(1)
            .u16(0)
            .u16(0)
            .u32(0)
            .u32(0)
            .u64(0)
            .u64(0)
            .u64(0)),
        FUSE_LOOKUP if request[IN_HEADER_BYTES..].starts_with(FILE_NAME.as_bytes()) => {
            // Node, generation, and how long the entry and its attributes hold.
            let entry = Message::default().u64(FILE).u64(0).u64(0).u64(0).u32(0).u32(0);
            Ok(entry.attributes(FILE))
        }
        FUSE_LOOKUP => Err(Errno::NOENT),
        FUSE_GETATTR => Ok(Message::default().u64(0).u32(0).u32(0).attributes(node)),
        // Handle, flags.
        FUSE_OPEN => Ok(Message::default().u64(0).u32(0).u32(0)),
        _ => Err(Errno::NOSYS),
    };
    let (error, body) = match body {
        Ok(body) => (0, body.0),
        Err(errno) => (-errno.raw_os_error(), Vec::new()),
    };
    let len = 16 + body.len() as u32;
    let mut message = Message::default().u32(len).u32(error as u32).u64(unique).0;
    message.extend(body);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(opcode: u32, node: u64, rest: &[u8]) -> Vec<u8> {
        let header = Message::default().u32(0).u32(opcode).u64(77).u64(node).u64(0).u64(0).0;
        [&header, rest].concat()
    }

    #[test]
    fn answers_have_the_sizes_of_the_kernel_header() {
        for (opcode, rest, bytes) in [
            (FUSE_INIT, &b""[..], 64),
            (FUSE_LOOKUP, b"file\0", 128),
            (FUSE_GETATTR, b"", 104),
            (FUSE_OPEN, b"", 16),
            (FUSE_LOOKUP, b"other\0", 0),
        ] {
            let answer = answer(&request(opcode, ROOT, rest));
            assert_eq!(answer.len(), 16 + bytes, "opcode {opcode}");
            assert_eq!(answer[..4], (answer.len() as u32).to_ne_bytes());
            assert_eq!(answer[8..16], 77u64.to_ne_bytes());
        }
    }

    #[test]
    fn the_file_can_be_opened_and_a_silent_server_is_aborted() {
        let directory = tempfile::tempdir().unwrap();
        let fuse = match SilentFuse::mount(directory.path()) {
            // Needs privileges and a device that this machine may lack.
            Err(Errno::PERM | Errno::NOENT | Errno::ACCESS | Errno::NODEV) => return,
            fuse => fuse.unwrap(),
        };
        let file = File::open(fuse.file()).unwrap();
        assert_eq!(file.metadata().unwrap().len(), FILE_BYTES);
        fuse.fall_silent();
        let waits = thread::spawn(move || file.metadata().map(|_| ()));
        thread::sleep(std::time::Duration::from_millis(50));
        assert!(!waits.is_finished(), "a silent server does not answer");
        drop(fuse);
        assert!(waits.join().unwrap().is_err());
    }
}
