// SPDX-License-Identifier: Apache-2.0
//! Tests that copies and attached devices exclude each other. The device is vgem.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{ensure, Context, Result};
use dmabuf_uapi::copy_file_range::copy_file_range;
use dmabuf_uapi::udmabuf::MemfdRange;
use dmabuf_uapi::Errno;
use libtest_mimic::Trial;
use vts_support::files::{Files, Mode};
use vts_support::outcome::skip;
use vts_support::pattern::{assert_filled, assert_same, UNTOUCHED};
use vts_uapi::drm_prime::{find_card, open_card, GemHandle};

use crate::buffer::{Buffer, Exporter};
use crate::kprobe::Kprobe;
use crate::outcome::{exporter_trials, support_trial};
use crate::slow_load::SlowLoad;

const PAGE_BYTES: usize = 4096;
const BUFFERS_IN_DEBUGFS: &str = "/sys/kernel/debug/dma_buf/bufinfo";

pub fn trials() -> Vec<Trial> {
    let mut trials = exporter_trials(
        "busy",
        &[
            ("no_copy_while_a_device_is_attached", no_copy_while_a_device_is_attached),
            ("no_device_attaches_during_a_copy", no_device_attaches_during_a_copy),
            ("copies_race_with_devices", copies_race_with_devices),
            ("debugfs_counts_copies", debugfs_counts_copies),
        ],
    );
    trials.extend([
        support_trial("busy", "a_second_udmabuf_of_the_memory", a_second_udmabuf_of_the_memory),
        support_trial(
            "busy",
            "refused_devices_reach_no_exporter",
            refused_devices_reach_no_exporter,
        ),
        support_trial("busy", "an_exporter_without_support", an_exporter_without_support),
        support_trial("busy", "a_buffer_not_open_for_writing", a_buffer_not_open_for_writing),
    ]);
    trials
}

/// Opens the device vgem; skips the test without it.
pub fn vgem() -> Result<OwnedFd> {
    let node = find_card("vgem").ok_or_else(|| skip("the kernel has no vgem"))?;
    open_card(&node).with_context(|| format!("opening {node:?}"))
}

fn no_copy_while_a_device_is_attached(exporter: Exporter) -> Result<()> {
    let card = vgem()?;
    let files = Files::new()?;
    let source = files.patterned("in", 91, 4096)?;
    let buffer = Buffer::filled(exporter, PAGE_BYTES, UNTOUCHED)?;
    let attachment = GemHandle::import(card.as_fd(), &buffer)?;
    for mode in Mode::ALL {
        let file = source.open(mode)?;
        assert_eq!(buffer.load(&file, 0, 0, PAGE_BYTES), Err(Errno::BUSY), "load");
        let output = mode.open_output(&files.path("out"))?;
        assert_eq!(buffer.save(0, &output, 0, PAGE_BYTES), Err(Errno::BUSY), "save");
    }
    assert_filled(&buffer.bytes(0, PAGE_BYTES)?, UNTOUCHED, "buffer");
    drop(attachment);
    assert_eq!(buffer.load(&source.direct()?, 0, 0, PAGE_BYTES), Ok(PAGE_BYTES), "afterwards");
    Ok(())
}

fn no_device_attaches_during_a_copy(exporter: Exporter) -> Result<()> {
    let card = vgem()?;
    let slow = SlowLoad::new(exporter)?;
    slow.meanwhile(|buffer| {
        let refused = GemHandle::import(card.as_fd(), buffer).map(drop);
        assert_eq!(refused, Err(Errno::BUSY), "attaching during a load");
        Ok(())
    })?;
    GemHandle::import(card.as_fd(), slow.buffer()).context("attaching afterwards")?;
    Ok(())
}

fn copies_race_with_devices(exporter: Exporter) -> Result<()> {
    const ROUNDS: usize = 2000;
    let card = vgem()?;
    let files = Files::new()?;
    let file = files.patterned("in", 92, 4096)?.buffered()?;
    let buffer = Buffer::new(exporter, PAGE_BYTES)?;
    let done = AtomicBool::new(false);
    let (mut loaded, mut refused) = (0, 0);
    thread::scope(|scope| {
        let devices = scope.spawn(|| {
            let mut outcomes = [0_usize; 2];
            while !done.load(Ordering::Relaxed) {
                match GemHandle::import(card.as_fd(), &buffer).map(drop) {
                    Ok(()) => outcomes[0] += 1,
                    Err(Errno::BUSY) => outcomes[1] += 1,
                    Err(error) => return Err(error),
                }
                thread::yield_now();
            }
            Ok(outcomes)
        });
        for round in 0.. {
            match buffer.load(&file, 0, 0, PAGE_BYTES) {
                Ok(PAGE_BYTES) => loaded += 1,
                Err(Errno::BUSY) => refused += 1,
                other => assert_eq!(other, Ok(PAGE_BYTES), "round {round}"),
            }
            if round >= ROUNDS && (loaded > 0 || round >= 10 * ROUNDS) {
                break;
            }
            thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
        let outcomes = devices.join().map_err(|_| anyhow::anyhow!("attaching panicked"))?;
        println!("loads: {loaded} done, {refused} refused; attached and refused: {outcomes:?}");
        ensure!(outcomes.is_ok(), "attaching: {outcomes:?}");
        Ok(())
    })?;
    // Whatever the interleaving, neither a copy nor a device may still be counted.
    GemHandle::import(card.as_fd(), &buffer).context("attaching afterwards")?;
    assert_eq!(buffer.load(&file, 0, 0, PAGE_BYTES), Ok(PAGE_BYTES), "afterwards");
    Ok(())
}

fn debugfs_counts_copies(exporter: Exporter) -> Result<()> {
    let look = || match std::fs::read_to_string(BUFFERS_IN_DEBUGFS) {
        Ok(text) => Ok(text.matches("File copies: 1\n").count()),
        Err(error) => Err(skip(format!("{BUFFERS_IN_DEBUGFS}: {error}"))),
    };
    let slow = SlowLoad::new(exporter)?;
    assert_eq!(look()?, 0, "before");
    slow.meanwhile(|_| {
        assert_eq!(look()?, 1, "during a load");
        Ok(())
    })?;
    assert_eq!(look()?, 0, "afterwards");
    Ok(())
}

fn refused_devices_reach_no_exporter() -> Result<()> {
    let card = vgem()?;
    let slow = SlowLoad::new(Exporter::SystemHeap)?;
    let attach = Kprobe::new("system_heap_attach")?;
    slow.meanwhile(|buffer| {
        let refused = GemHandle::import(card.as_fd(), buffer).map(drop);
        assert_eq!(refused, Err(Errno::BUSY), "attaching during a load");
        Ok(())
    })?;
    assert_eq!(attach.calls()?, 0, "the exporter's attach was called");
    GemHandle::import(card.as_fd(), slow.buffer()).context("attaching afterwards")?;
    assert_eq!(attach.calls()?, 1, "calls of attach that are counted");
    Ok(())
}

fn a_second_udmabuf_of_the_memory() -> Result<()> {
    let card = vgem()?;
    let files = Files::new()?;
    let source = files.patterned("in", 95, PAGE_BYTES as u64)?;
    let memfd = dmabuf_uapi::memfd::create_sealed(c"twice", PAGE_BYTES as u64)?;
    let size_bytes = PAGE_BYTES as u64;
    let ranges = [MemfdRange { memfd: memfd.as_fd(), offset_bytes: 0, size_bytes }];
    let (first, second) = (Buffer::of_memfd(&ranges)?, Buffer::of_memfd(&ranges)?);
    let _attachment = GemHandle::import(card.as_fd(), &first)?;
    let file = source.direct()?;
    assert_eq!(first.load(&file, 0, 0, PAGE_BYTES), Err(Errno::BUSY), "the attached buffer");
    assert_eq!(second.load(&file, 0, 0, PAGE_BYTES), Ok(PAGE_BYTES), "the other one");
    assert_same(&first.bytes(0, PAGE_BYTES)?, &source.expected(0, PAGE_BYTES), "shared memory");
    Ok(())
}

fn an_exporter_without_support() -> Result<()> {
    let card = vgem()?;
    let files = Files::new()?;
    let source = files.patterned("in", 93, 4096)?;
    let buffer = GemHandle::create(card.as_fd(), 4096)?.export(true)?;
    for mode in Mode::ALL {
        let loaded = copy_file_range(source.open(mode)?, 0, &buffer, 0, PAGE_BYTES);
        assert_eq!(loaded, Err(Errno::INVAL), "load");
        let output = mode.open_output(&files.path("out"))?;
        assert_eq!(copy_file_range(&buffer, 0, output, 0, PAGE_BYTES), Err(Errno::INVAL), "save");
    }
    // What has other answers says nothing of the exporter: a probe needs a byte on both sides.
    let file = source.buffered()?;
    assert_eq!(copy_file_range(&file, 0, &buffer, 0, 0), Ok(0), "no bytes");
    assert_eq!(copy_file_range(&file, 4096, &buffer, 0, 1), Ok(0), "at the end of the file");
    assert_eq!(copy_file_range(&file, 0, &buffer, 4096, 1), Ok(0), "at the end of the buffer");
    let append = OpenOptions::new().append(true).open(source.path())?;
    assert_eq!(copy_file_range(&buffer, 0, append, 0, 1), Err(Errno::BADF), "O_APPEND");
    Ok(())
}

fn a_buffer_not_open_for_writing() -> Result<()> {
    let card = vgem()?;
    let files = Files::new()?;
    let source = files.patterned("in", 94, 4096)?;
    let buffer = GemHandle::create(card.as_fd(), 4096)?.export(false)?;
    let loaded = copy_file_range(source.buffered()?, 0, &buffer, 0, PAGE_BYTES);
    assert_eq!(loaded, Err(Errno::BADF));
    Ok(())
}
