// SPDX-License-Identifier: Apache-2.0
//! Tests that a driver which imports a buffer sees the bytes of the file: by pages, by DMA
//! addresses and by a mapping of the kernel.

use anyhow::{Context, Result};
use dmabuf_loader_client::aidl::{
    DmaBuf::DmaBuf, HeapFact::HeapFact, LoadPath::LoadPath, Segment::Segment,
};
use dmabuf_loader_client::{open_for_load, LoadSpec};
use vts_support::files::{Files, TestFile};
use vts_support::importer::Importer;

use crate::buffer::fd;
use crate::client::{new_buffer, sized_buffer, Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("importers_see_what_any_heap_loads", importers_see_what_any_heap_loads),
    ("importers_see_what_each_heap_loads", importers_see_what_each_heap_loads),
    ("importers_see_a_range_amid_zeroes", importers_see_a_range_amid_zeroes),
    ("importers_see_zeroes_of_allocated_buffers", importers_see_zeroes_of_allocated_buffers),
];

/// Not whole pages, and around one huge page and several.
const SIZES: [u64; 5] = [4097, (2 << 20) - 1, 4 << 20, (5 << 20) + 4096 + 77, (16 << 20) + 1];

fn patterned(files: &Files, size: u64) -> Result<TestFile> {
    files.patterned(&size.to_string(), size, size)
}

/// Fails unless importers see the file from `offset` on in the buffer, and zeroes around it.
fn expect(
    importer: &Importer,
    buffer: &DmaBuf,
    file: &TestFile,
    at: usize,
    len: usize,
) -> Result<()> {
    let mut expected = vec![0; usize::try_from(buffer.sizeBytes)?];
    expected[at..at + len].copy_from_slice(&file.expected(0, len));
    importer.expect(fd(buffer)?, &expected)
}

fn importers_see_what_any_heap_loads(client: &Client) -> Result<()> {
    let importer = Importer::open()?;
    let files = Files::new()?;
    for size in SIZES {
        let file = patterned(&files, size)?;
        let source = open_for_load(file.path())?;
        let result = client.load(LoadSpec::whole_file(&source)?)?;
        let buffer = result.buffer.context("no buffer")?;
        let (heap, path) = (&buffer.heap, result.report.path);
        println!("INFO: {size} bytes into heap {heap} by {path:?}");
        expect(&importer, &buffer, &file, 0, size as usize)
            .with_context(|| format!("{size} bytes into heap {heap} by {path:?}"))?;
    }
    Ok(())
}

fn importers_see_what_each_heap_loads(client: &Client) -> Result<()> {
    let importer = Importer::open()?;
    let files = Files::new()?;
    let paths = client.loader.capabilities()?.paths;
    for heap in client.heaps()?.into_iter().filter(|heap| heap.deviceShareable) {
        if heap.cpuProtected == HeapFact::YES {
            continue;
        }
        let supported = |path: &LoadPath| {
            paths
                .iter()
                .any(|entry| entry.supported && entry.path == *path && entry.heap == heap.name)
        };
        for size in SIZES {
            let file = patterned(&files, size)?;
            let source = open_for_load(file.path())?;
            let named = LoadPath::enum_values().into_iter().filter(supported).map(Some);
            for path in named.chain([None]) {
                let spec =
                    LoadSpec::whole_file(&source)?.into_new(new_buffer(&heap.name)).paths(path);
                let what = || format!("{size} bytes into heap {} by {path:?}", heap.name);
                let buffer = client.load(spec).with_context(what)?.buffer.context("no buffer")?;
                expect(&importer, &buffer, &file, 0, size as usize).with_context(what)?;
            }
        }
    }
    Ok(())
}

fn importers_see_a_range_amid_zeroes(client: &Client) -> Result<()> {
    const OFFSET: usize = (3 << 20) + 4096 * 5;
    let importer = Importer::open()?;
    let files = Files::new()?;
    let size = (4 << 20) + 123;
    let file = patterned(&files, size)?;
    let source = open_for_load(file.path())?;
    let names =
        client.heaps()?.into_iter().filter(|heap| heap.deviceShareable).map(|heap| heap.name);
    for heap in names.chain([String::new()]) {
        let segment = Segment { bufferOffsetBytes: OFFSET as i64, ..Default::default() };
        let spec = LoadSpec::default()
            .file(&source)?
            .segment(segment)
            .into_new(sized_buffer(&heap, 10 << 20));
        let what = || format!("heap {heap:?}");
        let buffer = client.load(spec).with_context(what)?.buffer.context("no buffer")?;
        expect(&importer, &buffer, &file, OFFSET, size as usize).with_context(what)?;
    }
    Ok(())
}

fn importers_see_zeroes_of_allocated_buffers(client: &Client) -> Result<()> {
    let importer = Importer::open()?;
    let names =
        client.heaps()?.into_iter().filter(|heap| heap.deviceShareable).map(|heap| heap.name);
    for heap in names.chain([String::new()]) {
        let buffer = client.loader.allocate(&sized_buffer(&heap, 5 << 20))?;
        importer.expect(fd(&buffer)?, &vec![0; 5 << 20]).with_context(|| heap.clone())?;
    }
    Ok(())
}
