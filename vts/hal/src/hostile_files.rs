// SPDX-License-Identifier: Apache-2.0
//! Tests of files whose owner works against the request: the flags change in the middle, two fds
//! are one file, a lease is held.

use std::fs::{File, OpenOptions};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use dmabuf_loader_client::aidl::{LoaderError::LoaderError, Segment::Segment};
use dmabuf_loader_client::{open_for_load, LoadSpec, SaveSpec};
use rustix::fs::{fcntl_getfl, fcntl_setfl, OFlags};
use vts_support::files::{content, Files, Mode};
use vts_support::pattern;
use vts_uapi::lease::take_write_lease;

use crate::buffer::fd;
use crate::client::{expect_refusal, sized_buffer, Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("o_append_in_the_middle_of_a_save_moves_nothing", o_append_in_the_middle_of_a_save),
    ("one_file_under_two_fds_is_saved_to_once", one_file_under_two_fds_is_saved_to_once),
    ("a_lease_on_an_output_is_not_waited_for", a_lease_on_an_output_is_not_waited_for),
];

/// With `O_APPEND` the kernel ignores the offset of a write.
fn o_append_in_the_middle_of_a_save(client: &Client) -> Result<()> {
    const SIZE_BYTES: u64 = 64 << 20;
    let files = Files::new()?;
    let file = files.patterned("source", 61, SIZE_BYTES)?;
    let loaded = client.load(LoadSpec::whole_file(open_for_load(file.path())?)?)?;
    let buffer = loaded.buffer.ok_or_else(|| anyhow::anyhow!("no buffer"))?;
    for mode in Mode::ALL {
        let path = files.path("target");
        let target = mode.open_output(&path)?;
        let spec = SaveSpec::from_buffer(fd(&buffer)?)?.file(&target)?.segment(Segment::default());
        let ended = AtomicBool::new(false);
        let saved = thread::scope(|scope| {
            let flip = || -> rustix::io::Result<()> {
                let flags = fcntl_getfl(&target)?;
                while !ended.load(Ordering::Relaxed) {
                    fcntl_setfl(&target, flags | OFlags::APPEND)?;
                    fcntl_setfl(&target, flags)?;
                }
                Ok(())
            };
            let flipping = scope.spawn(flip);
            let saved = client.loader.save(spec);
            ended.store(true, Ordering::Relaxed);
            flipping.join().expect("fcntl does not panic").map(|()| saved)
        })?;
        let size_bytes = target.metadata()?.len();
        ensure!(size_bytes <= SIZE_BYTES, "{mode:?}: {size_bytes} bytes after {saved:?}");
        if saved.is_ok() {
            let expected = file.expected(0, SIZE_BYTES as usize);
            pattern::assert_same(&content(&path)?, &expected, "saved file");
        }
        std::fs::remove_file(path)?;
    }
    Ok(())
}

fn one_file_under_two_fds_is_saved_to_once(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let buffer = client.loader.allocate(&sized_buffer("", 16384))?;
    let path = files.path("target");
    let save = |offsets: [i64; 2]| -> Result<_> {
        let open = || OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let mut spec = SaveSpec::from_buffer(fd(&buffer)?)?.file(open()?)?.file(open()?)?;
        for (index, offset) in offsets.into_iter().enumerate() {
            spec = spec.segment(Segment {
                fileIndex: index as i32,
                fileOffsetBytes: offset,
                lengthBytes: 8192,
                bufferOffsetBytes: 0,
            });
        }
        Ok(client.loader.save(spec))
    };
    for overlapping in [[0, 0], [0, 4096], [4096, 0], [8191, 0]] {
        let argument = "segments[";
        expect_refusal(save(overlapping)?, LoaderError::BAD_ARGUMENT, argument)?;
    }
    ensure!(File::open(&path)?.metadata()?.len() == 0, "a refused save wrote");
    save([0, 8192])??;
    ensure!(File::open(&path)?.metadata()?.len() == 16384, "a save beside the other one");
    Ok(())
}

/// The kernel lets whoever opens a leased file wait for 45 s by default.
fn a_lease_on_an_output_is_not_waited_for(client: &Client) -> Result<()> {
    const AT_ONCE: Duration = Duration::from_secs(20);
    let files = Files::new()?;
    let buffer = client.loader.allocate(&sized_buffer("", 8192))?;
    for mode in Mode::ALL {
        let target = mode.open_output(&files.path("target"))?;
        take_write_lease(&target)?;
        let segment = Segment { lengthBytes: 5000, ..Default::default() };
        let spec = SaveSpec::from_buffer(fd(&buffer)?)?.file(&target)?.segment(segment);
        let begin = Instant::now();
        let saved = client.loader.save(spec);
        ensure!(begin.elapsed() < AT_ONCE, "{mode:?}: the save took {:?}", begin.elapsed());
        match mode {
            Mode::Buffered => drop(saved?),
            // Without the other open file there are whole blocks only.
            Mode::Direct => expect_refusal(saved, LoaderError::BAD_ARGUMENT, "segments[0]: ")?,
        }
    }
    Ok(())
}
