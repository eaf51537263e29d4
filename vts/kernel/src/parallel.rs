// SPDX-License-Identifier: Apache-2.0
//! Tests that the kernel holds no lock while bytes move: other users of the buffer do not wait for
//! a copy.

use std::thread;

use anyhow::Result;
use dmabuf_uapi::dma_buf::CpuAccess;
use libtest_mimic::Trial;
use vts_support::files::{content, Files, Mode};
use vts_support::pattern::{self, assert_same};

use crate::buffer::{Buffer, Exporter};
use crate::outcome::exporter_trials;
use crate::slow_load::{SlowLoad, LOADED_BYTES};

const MIB: usize = 1 << 20;

pub fn trials() -> Vec<Trial> {
    exporter_trials(
        "parallel",
        &[
            ("a_load_overtakes_another", a_load_overtakes_another),
            ("a_save_overtakes_a_load", a_save_overtakes_a_load),
            ("cpu_access_is_not_blocked", cpu_access_is_not_blocked),
            ("many_loads_into_one_buffer", many_loads_into_one_buffer),
        ],
    )
}

fn a_load_overtakes_another(exporter: Exporter) -> Result<()> {
    let slow = SlowLoad::new(exporter)?;
    let files = Files::new()?;
    let source = files.patterned("in", 81, 5000)?;
    for mode in Mode::ALL {
        let file = source.open(mode)?;
        slow.meanwhile(|buffer| {
            assert_eq!(buffer.load(&file, 0, LOADED_BYTES as u64, 5000)?, 5000);
            Ok(())
        })?;
        let seen = slow.buffer().bytes(LOADED_BYTES, 5000)?;
        assert_same(&seen, &source.expected(0, 5000), "overtaking load");
    }
    Ok(())
}

fn a_save_overtakes_a_load(exporter: Exporter) -> Result<()> {
    let slow = SlowLoad::new(exporter)?;
    let bytes = pattern::bytes(82, 0, 8192);
    slow.buffer().write(LOADED_BYTES, &bytes)?;
    let files = Files::new()?;
    for mode in Mode::ALL {
        let output = mode.open_output(&files.path("out"))?;
        slow.meanwhile(|buffer| {
            assert_eq!(buffer.save(LOADED_BYTES as u64, &output, 0, 8192)?, 8192);
            Ok(())
        })?;
        assert_same(&content(&files.path("out"))?, &bytes, "saved");
    }
    Ok(())
}

fn cpu_access_is_not_blocked(exporter: Exporter) -> Result<()> {
    let slow = SlowLoad::new(exporter)?;
    // The first CPU access bracket on a udmabuf maps all its pages for DMA; do that before the
    // race.
    slow.buffer().write(LOADED_BYTES, b"first")?;
    slow.meanwhile(|buffer| {
        let mapped = buffer.map(0, buffer.size_bytes(), CpuAccess::READ | CpuAccess::WRITE)?;
        mapped.write(LOADED_BYTES as u64, b"meanwhile")?;
        let mut seen = [0; 9];
        mapped.read(LOADED_BYTES as u64, &mut seen)?;
        assert_eq!(&seen, b"meanwhile");
        mapped.finish()?;
        Ok(())
    })
}

fn many_loads_into_one_buffer(exporter: Exporter) -> Result<()> {
    const PARTS: usize = 8;
    const PART_BYTES: usize = 2 * MIB + 4096;
    let files = Files::new()?;
    let source = files.patterned("in", 83, (PARTS * PART_BYTES) as u64)?;
    let buffer = Buffer::new(exporter, PARTS * PART_BYTES)?;
    thread::scope(|scope| {
        let loads = [0; PARTS].iter().enumerate().map(|(part, _)| {
            let mode = Mode::ALL[part % Mode::ALL.len()];
            let (buffer, source) = (&buffer, &source);
            scope.spawn(move || -> Result<usize> {
                let offset = (part * PART_BYTES) as u64;
                Ok(buffer.load(&source.open(mode)?, offset, offset, PART_BYTES)?)
            })
        });
        for load in loads.collect::<Vec<_>>() {
            let loaded = load.join().map_err(|_| anyhow::anyhow!("a load panicked"))??;
            assert_eq!(loaded, PART_BYTES);
        }
        anyhow::Ok(())
    })?;
    let size = PARTS * PART_BYTES;
    assert_same(&buffer.bytes(0, size)?, &source.expected(0, size), "loaded");
    Ok(())
}
