// SPDX-License-Identifier: Apache-2.0
//! Tests that copies and attached devices exclude each other. The device is vgem.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{ensure, Context, Result};
use dmabuf_uapi::copy_file_range::copy_file_range;
use dmabuf_uapi::Errno;
use libtest_mimic::Trial;
use vts_support::files::{Files, Mode};
use vts_support::outcome::skip;
use vts_support::pattern::{assert_filled, UNTOUCHED};
use vts_uapi::drm_prime::{find_card, open_card, GemHandle};

use crate::buffer::{Buffer, Exporter};
use crate::outcome::{exporter_trials, support_trial};
use crate::slow_load::SlowLoad;

const PAGE_BYTES: usize = 4096;

pub fn trials() -> Vec<Trial> {
    let mut trials = exporter_trials(
        "busy",
        &[
            ("no_copy_while_a_device_is_attached", no_copy_while_a_device_is_attached),
            ("no_device_attaches_during_a_copy", no_device_attaches_during_a_copy),
            ("copies_race_with_devices", copies_race_with_devices),
        ],
    );
    trials.extend([
        support_trial("busy", "an_exporter_without_support", an_exporter_without_support),
        support_trial("busy", "a_buffer_not_open_for_writing", a_buffer_not_open_for_writing),
    ]);
    trials
}

fn vgem() -> Result<OwnedFd> {
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
