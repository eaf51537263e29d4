// SPDX-License-Identifier: Apache-2.0
//! Tests that a client which takes the memory of its buffer away fails its own request alone: a
//! copy in user space would end the service by SIGBUS.

use std::fs::File;
use std::os::fd::OwnedFd;

use anyhow::{ensure, Context, Result};
use dmabuf_loader_client::aidl::{LoadPath::LoadPath, LoaderError::LoaderError};
use dmabuf_loader_client::{open_for_load, ClientError, LoadSpec, SaveSpec};
use dmabuf_uapi::mapped_range::MappedRange;
use dmabuf_uapi::mapping::MappingAccess;
use rustix::io::Errno;
use vts_support::files::{Files, Mode};
use vts_support::outcome::skip;
use vts_uapi::dma_buf_exporter::{export, open_exporter, purge, EXPORTER_NODE};

use crate::client::{expect_refusal, Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("loads_fill_a_purgeable_buffer", loads_fill_a_purgeable_buffer),
    ("a_purged_buffer_fails_its_load_alone", a_purged_buffer_fails_its_load_alone),
    ("a_purged_buffer_fails_its_save_alone", a_purged_buffer_fails_its_save_alone),
];

/// One that goes through a short bounce buffer, one that does not.
const SIZES_BYTES: [u64; 2] = [4096, 4 << 20];
/// The paths by which bytes reach a buffer of an exporter that the kernel's copies do not know.
const PATHS: [LoadPath; 2] = [LoadPath::BOUNCE, LoadPath::BUFFERED];

fn exporter() -> Result<OwnedFd> {
    open_exporter().map_err(|errno| match errno {
        Errno::NOENT => skip(format!("the kernel has no test exporter ({EXPORTER_NODE})")),
        errno => anyhow::Error::from(errno).context(EXPORTER_NODE),
    })
}

fn loads_fill_a_purgeable_buffer(client: &Client) -> Result<()> {
    let exporter = exporter()?;
    let files = Files::new()?;
    for (size_bytes, path) in requests() {
        let file = files.patterned("f", 61, size_bytes)?;
        let source = open_for_load(file.path())?;
        let buffer = export(&exporter, size_bytes)?;
        let spec = load(&source, &buffer, path)?;
        let case = || format!("{size_bytes} bytes, {path:?}");
        client.load(spec).with_context(case)?;
        let mut seen = vec![0; size_bytes as usize];
        MappedRange::new(&buffer, 0..size_bytes, MappingAccess::Read)?.read(0, &mut seen)?;
        ensure!(seen == file.expected(0, seen.len()), "{} has other bytes", case());
    }
    Ok(())
}

fn a_purged_buffer_fails_its_load_alone(client: &Client) -> Result<()> {
    let exporter = exporter()?;
    let files = Files::new()?;
    for (size_bytes, path) in requests() {
        let file = files.patterned("f", 62, size_bytes)?;
        let source = open_for_load(file.path())?;
        let buffer = export(&exporter, size_bytes)?;
        purge(&exporter, &buffer)?;
        expect_gone(client.loader.load(load(&source, &buffer, path)?))
            .with_context(|| format!("{size_bytes} bytes, {path:?}"))?;
    }
    Ok(())
}

fn a_purged_buffer_fails_its_save_alone(client: &Client) -> Result<()> {
    let exporter = exporter()?;
    let files = Files::new()?;
    let target = Mode::Direct.open_output(&files.path("target"))?;
    for (size_bytes, path) in requests() {
        let buffer = export(&exporter, size_bytes)?;
        purge(&exporter, &buffer)?;
        let spec = SaveSpec::from_buffer(&buffer)?.file(&target)?.paths([path]);
        expect_gone(client.loader.save(spec))
            .with_context(|| format!("{size_bytes} bytes, {path:?}"))?;
    }
    Ok(())
}

fn requests() -> impl Iterator<Item = (u64, LoadPath)> {
    SIZES_BYTES.into_iter().flat_map(|size_bytes| PATHS.map(|path| (size_bytes, path)))
}

fn load(source: &File, buffer: &OwnedFd, path: LoadPath) -> Result<LoadSpec> {
    Ok(LoadSpec::whole_file(source)?.into_existing(buffer)?.paths([path]))
}

fn expect_gone<T>(ended: std::result::Result<T, ClientError>) -> Result<()> {
    expect_refusal(ended, LoaderError::UNSUPPORTED_FILE, "")
}
