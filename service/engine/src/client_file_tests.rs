// SPDX-License-Identifier: Apache-2.0
//! What becomes of a client's file while the client changes the flags of its fd. The tests on a
//! device do the same on its heaps and file systems.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use dmabuf_uapi::memfd;
use rustix::fs::{fcntl_setfl, OFlags};
use tempfile::NamedTempFile;

use crate::request::{Policy, SaveRequest, Segment};
use crate::{ClientId, Context, Engine, EngineConfig, EngineError, PathName, PoolConfig};

const MIB: u64 = 1 << 20;
const BUFFERED: Policy = Policy::only(PathName::Buffered);

fn engine() -> Engine {
    let config = EngineConfig::new(true, PoolConfig::OFF);
    Engine::new(EngineConfig { max_buffer_bytes: 512 << 20, ..config })
}

fn dup(fd: impl AsFd) -> OwnedFd {
    fd.as_fd().try_clone_to_owned().unwrap()
}

/// A file on storage; /tmp may be a tmpfs.
fn file_on_disk(size_bytes: u64) -> NamedTempFile {
    let program = std::env::current_exe().unwrap();
    let directory = program.parent().unwrap_or(Path::new("."));
    let file = NamedTempFile::new_in(directory).unwrap();
    file.as_file().set_len(size_bytes).unwrap();
    file
}

#[test]
fn a_save_appends_nothing_while_the_flag_changes() {
    let size_bytes = 16 * MIB;
    let buffer = memfd::create_sealed(c"buffer", size_bytes).unwrap();
    rustix::io::pwrite(&buffer, &vec![7; size_bytes as usize], 0).unwrap();
    let file = file_on_disk(size_bytes);
    let target = OpenOptions::new().write(true).open(&file).unwrap();
    let stop = AtomicBool::new(false);
    let saved: Vec<_> = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for flags in [OFlags::APPEND, OFlags::empty()] {
                    fcntl_setfl(&target, flags).unwrap();
                    std::thread::yield_now();
                }
            }
        });
        let engine = engine();
        let save = || SaveRequest {
            buffer: dup(&buffer),
            files: vec![dup(&target)],
            segments: vec![Segment::WHOLE_FILE],
            policy: BUFFERED,
        };
        let saves = (0..10).map(|_| engine.save(save(), &Context::new(ClientId(1))));
        let saved = saves.collect();
        stop.store(true, Ordering::Relaxed);
        saved
    });
    for saved in &saved {
        let expected = matches!(saved, Ok(_) | Err(EngineError::BadFd { .. }));
        assert!(expected, "{saved:?}");
    }
    assert_eq!(file.as_file().metadata().unwrap().len(), size_bytes);
    let is_saved = saved.iter().any(Result::is_ok);
    let bytes = std::fs::read(&file).unwrap();
    assert!(!is_saved || bytes.iter().all(|byte| *byte == 7), "a save has not written all");
}
