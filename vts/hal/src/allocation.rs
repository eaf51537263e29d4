// SPDX-License-Identifier: Apache-2.0
//! Tests of allocate() on every heap: zeroed memory, whole pages, names, refused arguments.

use anyhow::{ensure, Context, Result};
use dmabuf_loader_client::aidl::{LoaderError::LoaderError, NewBuffer::NewBuffer};
use rustix::fs::{seek, SeekFrom};

use crate::buffer::{fd, View};
use crate::client::{expect_refusal, sized_buffer, Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("buffers_are_zero_and_whole_pages", buffers_are_zero_and_whole_pages),
    ("reused_memory_is_zeroed", reused_memory_is_zeroed),
    ("an_empty_heap_name_means_any_heap", an_empty_heap_name_means_any_heap),
    ("buffers_carry_their_name", buffers_carry_their_name),
    ("many_buffers_at_once", many_buffers_at_once),
    ("buffers_from_several_threads", buffers_from_several_threads),
    ("bad_sizes_are_refused", bad_sizes_are_refused),
    ("bad_names_are_refused", bad_names_are_refused),
    ("unknown_heaps_are_refused", unknown_heaps_are_refused),
];

fn buffers_are_zero_and_whole_pages(client: &Client) -> Result<()> {
    let page = client.loader.capabilities()?.pageBytes;
    for heap in client.heaps()? {
        for size in [1, page - 1, page, page + 1, (1 << 20) + 1, 16 << 20] {
            let buffer = client.loader.allocate(&sized_buffer(&heap.name, size))?;
            let whole = (size + page - 1) / page * page;
            ensure!(buffer.sizeBytes == whole, "{size} bytes became {}", buffer.sizeBytes);
            ensure!(buffer.heap == heap.name, "asked {} got {}", heap.name, buffer.heap);
            ensure!(buffer.deviceShareable == heap.deviceShareable, "{buffer:?}");
            let kernel_size = seek(fd(&buffer)?, SeekFrom::End(0))?;
            ensure!(kernel_size == whole as u64, "the kernel reports {kernel_size} bytes");
            View::new(&buffer)?.expect_zero_from(0)?;
        }
    }
    Ok(())
}

fn reused_memory_is_zeroed(client: &Client) -> Result<()> {
    for heap in client.heaps()? {
        for _ in 0..8 {
            let buffer = client.loader.allocate(&sized_buffer(&heap.name, 4 << 20))?;
            let view = View::new(&buffer)?;
            view.expect_zero_from(0)?;
            view.write(0, &vec![0xee; 4 << 20])?;
        }
    }
    Ok(())
}

fn an_empty_heap_name_means_any_heap(client: &Client) -> Result<()> {
    let buffer = client.loader.allocate(&sized_buffer("", 4096))?;
    ensure!(buffer.heap == client.heaps()?[0].name, "{buffer:?}");
    Ok(())
}

fn buffers_carry_their_name(client: &Client) -> Result<()> {
    use std::os::fd::AsRawFd;
    for heap in client.heaps()? {
        let name = "n".repeat(31);
        let request = NewBuffer { name: name.clone(), ..sized_buffer(&heap.name, 4096) };
        let buffer = client.loader.allocate(&request)?;
        let path = format!("/proc/self/fdinfo/{}", fd(&buffer)?.as_raw_fd());
        let info = std::fs::read_to_string(&path).context("fdinfo")?;
        ensure!(info.contains(&format!("name:\t{name}\n")), "{info}");
    }
    Ok(())
}

fn many_buffers_at_once(client: &Client) -> Result<()> {
    for heap in client.heaps()? {
        let allocate = |_| client.loader.allocate(&sized_buffer(&heap.name, 64 << 10));
        let buffers = (0..200).map(allocate).collect::<Result<Vec<_>, _>>()?;
        ensure!(buffers.len() == 200);
    }
    Ok(())
}

fn buffers_from_several_threads(client: &Client) -> Result<()> {
    let heap = client.best_heap()?.name;
    let work = || -> Result<()> {
        for round in 1..=20 {
            let buffer = client.loader.allocate(&sized_buffer(&heap, round * 10_000))?;
            View::new(&buffer)?.expect_zero_from(0)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

fn bad_sizes_are_refused(client: &Client) -> Result<()> {
    for heap in client.heaps()? {
        for size in [0, -1, i64::MIN, i64::MAX, heap.maxBufferBytes + 1] {
            let refused = client.loader.allocate(&sized_buffer(&heap.name, size));
            expect_refusal(refused, LoaderError::BAD_ARGUMENT, "sizeBytes: ")?;
        }
    }
    Ok(())
}

fn bad_names_are_refused(client: &Client) -> Result<()> {
    let controls = ["nul\0inside", "line\nbreak", "escape\u{1b}[2J", "next line\u{85}"];
    let controls = controls.map(str::to_owned);
    for name in ["n".repeat(32), "é".repeat(16)].into_iter().chain(controls) {
        let request = NewBuffer { name, ..sized_buffer("", 4096) };
        expect_refusal(client.loader.allocate(&request), LoaderError::BAD_ARGUMENT, "name: ")?;
    }
    Ok(())
}

fn unknown_heaps_are_refused(client: &Client) -> Result<()> {
    for heap in ["nope", "../system", "/dev/dma_heap/system", "system ", "SYSTEM", "memfd"] {
        let refused = client.loader.allocate(&sized_buffer(heap, 4096));
        expect_refusal(refused, LoaderError::HEAP_UNKNOWN, "heap: ")?;
    }
    Ok(())
}
