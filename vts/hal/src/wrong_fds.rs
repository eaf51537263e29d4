// SPDX-License-Identifier: Apache-2.0
//! Fds that are no files, no buffers, or open in the wrong mode.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use anyhow::{ensure, Context, Result};
use binder::ParcelFileDescriptor;
use dmabuf_loader_client::aidl::{
    BufferTarget::BufferTarget, LoadPath::LoadPath, LoaderError::LoaderError,
    PathPolicy::PathPolicy, Segment::Segment,
};
use dmabuf_loader_client::{open_for_load, LoadSpec, SaveSpec};
use dmabuf_uapi::dma_buf::{CpuAccess, CpuAccessGuard};
use dmabuf_uapi::dma_heap::allocate_read_only;
use dmabuf_uapi::mapping::{Mapping, MappingAccess};
use rustix::fs::{open, Mode, OFlags};
use vts_support::files::Files;
use vts_support::pattern::UNTOUCHED;

use crate::buffer::{fd, own_system_heap};
use crate::client::{expect_refusal, expect_refusal_or_block, sized_buffer, Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("sources_that_are_no_regular_file_are_refused", sources_that_are_no_regular_file),
    ("a_write_only_source_is_refused", a_write_only_source_is_refused),
    ("a_path_only_source_is_refused", a_path_only_source_is_refused),
    ("a_dma_buf_as_source_is_refused", a_dma_buf_as_source_is_refused),
    ("a_closed_source_fails_the_call_only", a_closed_source_fails_the_call_only),
    ("targets_that_are_no_dma_buf_are_refused", targets_that_are_no_dma_buf),
    ("a_target_that_is_only_readable_is_refused", a_target_that_is_only_readable_is_refused),
    ("a_missing_target_is_refused", a_missing_target_is_refused),
    ("saves_to_what_cannot_be_written_are_refused", saves_to_what_cannot_be_written),
    ("an_fd_that_is_no_buffer_cannot_be_saved", an_fd_that_is_no_buffer_cannot_be_saved),
];

fn load(
    client: &Client,
    source: impl AsFd,
) -> Result<Result<(), dmabuf_loader_client::ClientError>> {
    Ok(client.loader.load(LoadSpec::whole_file(source)?).map(drop))
}

fn sources_that_are_no_regular_file(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let (pipe, _writer) = nix::unistd::pipe()?;
    let (socket, _other) = std::os::unix::net::UnixStream::pair()?;
    let directory = File::open(files.path("."))?;
    let null = File::open("/dev/null")?;
    let sources: [(OwnedFd, &str, &str); 4] = [
        (pipe, "a pipe", "tclass=fifo_file"),
        (socket.into(), "a socket", "tclass=unix_stream_socket"),
        (directory.into(), "a directory", "tclass=dir"),
        (null.into(), "a character device", "tclass=chr_file"),
    ];
    for (source, kind, denied) in sources {
        let expected = format!("files[0]: is {kind}, expected a regular file");
        let refused = load(client, source)?;
        let code = LoaderError::UNSUPPORTED_FILE;
        expect_refusal_or_block(refused, code, &expected, Some(denied))?;
    }
    Ok(())
}

fn a_write_only_source_is_refused(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let source = File::create(files.path("f"))?;
    expect_refusal(load(client, source)?, LoaderError::BAD_FD, "files[0]: is not open for reading")
}

fn a_path_only_source_is_refused(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 1, 4096)?;
    let source = open(file.path(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let refused = load(client, source)?;
    let expected = "files[0]: is an O_PATH fd";
    expect_refusal_or_block(refused, LoaderError::BAD_FD, expected, None)
}

fn a_dma_buf_as_source_is_refused(client: &Client) -> Result<()> {
    let buffer = client.loader.allocate(&sized_buffer("", 4096))?;
    let refused = load(client, fd(&buffer)?)?;
    expect_refusal(refused, LoaderError::UNSUPPORTED_FILE, "files[0]: is an anonymous file")
}

/// The fd never arrives; the service goes on.
fn a_closed_source_fails_the_call_only(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 1, 4096)?;
    let spec = LoadSpec::whole_file(file.buffered()?)?;
    let closed: &OwnedFd = spec.request.files[0].as_ref();
    nix::unistd::close(closed.as_raw_fd()).context("close")?;
    let result = (**client.loader.service()).load(&spec.request);
    // Its fd is closed already, and its number may be another's by now.
    std::mem::forget(spec);
    ensure!(result.is_err(), "a closed fd was loaded from");
    client.heaps().map(drop)
}

fn targets_that_are_no_dma_buf(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 1, 4096)?;
    let source = open_for_load(file.path())?;
    let regular = OpenOptions::new().read(true).write(true).open(file.path())?;
    let mut targets = vec![OwnedFd::from(regular)];
    match dmabuf_uapi::memfd::create_sealed(c"vts", 4096) {
        Ok(memfd) => targets.push(memfd),
        // Not every client domain has a type for its memfds.
        Err(_) => println!("EXPECT-AVC: name=\"memfd:vts\""),
    }
    for target in targets {
        let spec = LoadSpec::whole_file(&source)?.into_existing(&target)?;
        let refused = client.loader.load(spec);
        let (code, argument) = (LoaderError::UNSUPPORTED_FILE, "target.existing: is ");
        expect_refusal_or_block(refused, code, argument, Some("dev=\"tmpfs\""))?;
    }
    let contents = vts_support::files::content(file.path())?;
    ensure!(contents == file.expected(0, 4096), "a refused target was written");
    Ok(())
}

/// Whatever the path, the buffer stays as it is.
fn a_target_that_is_only_readable_is_refused(client: &Client) -> Result<()> {
    let own = allocate_read_only(own_system_heap()?, 1 << 20)?;
    let files = Files::new()?;
    let file = files.patterned("f", 1, 1 << 20)?;
    let spec =
        || Ok::<_, anyhow::Error>(LoadSpec::whole_file(file.direct()?)?.into_existing(&own)?);
    let mut specs = vec![spec()?, LoadSpec::whole_file(file.buffered()?)?.into_existing(&own)?];
    for path in
        [LoadPath::COPY_FILE_RANGE, LoadPath::UDMABUF_DIRECT, LoadPath::BOUNCE, LoadPath::BUFFERED]
    {
        let mut named = spec()?;
        (named.request.policy, named.request.namedPath) = (PathPolicy::NAMED, path);
        specs.push(named);
    }
    for spec in specs {
        let expected = "target.existing: is not open for reading and writing";
        expect_refusal(client.loader.load(spec).map(drop), LoaderError::BAD_FD, expected)?;
    }
    let mapping = Mapping::shared(&own, 1 << 20, MappingAccess::Read)?;
    let _access = CpuAccessGuard::begin(own.as_fd(), CpuAccess::READ)?;
    let mut bytes = vec![UNTOUCHED; 1 << 20];
    mapping.read(0, &mut bytes)?;
    ensure!(bytes.iter().all(|byte| *byte == 0), "a buffer that is only readable was written");
    Ok(())
}

fn a_missing_target_is_refused(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 1, 4096)?;
    let mut spec = LoadSpec::whole_file(file.buffered()?)?;
    spec.request.target = BufferTarget::Existing(None);
    ensure!(client.loader.load(spec).is_err(), "a load without a target");
    client.heaps().map(drop)
}

fn saves_to_what_cannot_be_written(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 1, 4096)?;
    let buffer = client.loader.allocate(&sized_buffer("", 4096))?;
    let (_reader, pipe) = nix::unistd::pipe()?;
    let append = OpenOptions::new().append(true).open(file.path())?;
    let directory = File::open(files.path("."))?;
    let save = |target: OwnedFd| -> Result<_> {
        let spec = SaveSpec::from_buffer(fd(&buffer)?)?.file(&target)?.segment(Segment::default());
        Ok(client.loader.save(spec))
    };
    let bad_fd = LoaderError::BAD_FD;
    let read_only = save(file.buffered()?.into())?;
    expect_refusal(read_only, bad_fd, "files[0]: is not open for writing")?;
    expect_refusal(save(append.into())?, bad_fd, "files[0]: is open with O_APPEND")?;
    for (target, kind, denied) in
        [(pipe, "a pipe", "tclass=fifo_file"), (directory.into(), "a directory", "tclass=dir")]
    {
        let expected = format!("files[0]: is {kind}, expected a regular file");
        let code = LoaderError::UNSUPPORTED_FILE;
        expect_refusal_or_block(save(target)?, code, &expected, Some(denied))?;
    }
    let contents = vts_support::files::content(file.path())?;
    ensure!(contents == file.expected(0, 4096), "a refused save wrote");
    Ok(())
}

fn an_fd_that_is_no_buffer_cannot_be_saved(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 1, 4096)?;
    let target = File::create(files.path("target"))?;
    let mut spec = SaveSpec::from_buffer(file.buffered()?)?.file(&target)?;
    spec = spec.segment(Segment::default());
    let argument = "buffer: is a regular file, expected a dma-buf";
    expect_refusal(client.loader.save(spec), LoaderError::UNSUPPORTED_FILE, argument)?;
    let mut missing = SaveSpec::default().file(&target)?.segment(Segment::default());
    missing.request.buffer = None::<ParcelFileDescriptor>;
    ensure!(client.loader.save(missing).is_err(), "a save without a buffer");
    client.heaps().map(drop)
}
