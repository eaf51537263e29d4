// SPDX-License-Identifier: Apache-2.0
//! Measures the allocation and closing of buffers without I/O, and how much of that is zeroing
//! memory.
//!
//! The cost of zeroing is measured by populating hugetlb memory, whose only other cost is one fault
//! per 2 MiB.

use anyhow::Result;
use vts_bench_record::{Direction, Kind, Phases};

use crate::bench::{Bench, Case, Setup};
use crate::buffer::{Exporter, PopulatedMemory};
use crate::tuning::Pages;

/// The name of the measurement of zeroing.
const ZEROING: &str = "zeroing";

/// Reserve beyond the buffers' size, for other users of the pool of huge pages.
const POOL_RESERVE_BYTES: u64 = 8 << 20;

/// Runs the measurements.
pub fn run(bench: &mut Bench) -> Result<()> {
    measure(bench, ZEROING, |setup| {
        let _pages = Pages::Hugetlb.set_up(setup.total_bytes() + POOL_RESERVE_BYTES)?;
        make_and_close(setup, |size_bytes| PopulatedMemory::new(Pages::Hugetlb, size_bytes))
    })?;
    for (name, exporter) in [
        ("system heap", Exporter::SystemHeap),
        ("udmabuf", Exporter::Udmabuf),
        ("udmabuf and memfd", Exporter::UdmabufAndMemfd),
    ] {
        measure(bench, name, |setup| {
            make_and_close(setup, |size_bytes| setup.devices.create(exporter, size_bytes))
        })?;
    }
    for pages in Pages::ALL {
        measure(bench, &format!("udmabuf populated{}", pages.suffix()), |setup| {
            let _pages = pages.set_up(setup.total_bytes() + POOL_RESERVE_BYTES)?;
            make_and_close(setup, |size_bytes| setup.devices.create_populated(pages, size_bytes))
        })?;
    }
    Ok(())
}

fn measure(
    bench: &mut Bench,
    name: &str,
    work: impl FnOnce(&Setup) -> Result<Phases>,
) -> Result<()> {
    let (bytes, buffers) = (bench.setup.total_bytes(), u64::from(bench.setup.buffers));
    bench.measure(Case::new(Kind::Allocation, name, Direction::None, bytes, buffers), work)
}

fn make_and_close<T>(setup: &Setup, make: impl Fn(u64) -> Result<T>) -> Result<Phases> {
    let (buffers, create) = setup.meter.measure(|| {
        (0..setup.buffers).map(|_| make(setup.buffer_bytes)).collect::<Result<Vec<T>>>()
    })?;
    let ((), close) = setup.meter.measure(|| {
        drop(buffers);
        Ok(())
    })?;
    Ok(Phases { create: Some(create), io: None, close: Some(close) })
}
