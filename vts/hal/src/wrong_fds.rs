// SPDX-License-Identifier: Apache-2.0
//! Tests that fds of the wrong kind or access mode are refused.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use anyhow::{ensure, Context, Result};
use binder::ParcelFileDescriptor;
use dmabuf_loader_client::aidl::{
    BufferTarget::BufferTarget, LoadPath::LoadPath, LoaderError::LoaderError, Segment::Segment,
};
use dmabuf_loader_client::{open_for_load, LoadSpec, SaveSpec};
use dmabuf_uapi::dma_buf::CpuAccess;
use dmabuf_uapi::mapped_buffer::MappedBuffer;
use rustix::fs::{open, Mode, OFlags};
use rustix::io::Errno;
use vts_support::files::{Files, TestFile};
use vts_support::outcome::skip;
use vts_support::pattern::UNTOUCHED;
use vts_uapi::anonymous_fds::Kind;
use vts_uapi::dma_heap::allocate_read_only;

use crate::buffer::{fd, own_system_heap};
use crate::client::{expect_refusal, expect_refusal_or_block, sized_buffer, Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("sources_must_be_regular_files", sources_must_be_regular_files),
    ("files_without_storage_are_refused", files_without_storage_are_refused),
    ("a_write_only_source_is_refused", a_write_only_source_is_refused),
    ("a_path_only_source_is_refused", a_path_only_source_is_refused),
    ("a_dma_buf_as_source_is_refused", a_dma_buf_as_source_is_refused),
    ("a_closed_source_fails_the_call_only", a_closed_source_fails_the_call_only),
    ("targets_must_be_dma_bufs", targets_must_be_dma_bufs),
    ("a_read_only_target_is_refused", a_read_only_target_is_refused),
    ("a_missing_target_is_refused", a_missing_target_is_refused),
    ("unwritable_files_of_a_save_are_refused", unwritable_files_of_a_save_are_refused),
    ("only_a_dma_buf_can_be_saved", only_a_dma_buf_can_be_saved),
    ("an_epoll_fd_is_refused", |client| expect_anonymous_fd_refused(client, Kind::Epoll)),
    ("an_eventfd_is_refused", |client| expect_anonymous_fd_refused(client, Kind::Eventfd)),
    ("a_timerfd_is_refused", |client| expect_anonymous_fd_refused(client, Kind::Timerfd)),
    ("a_signalfd_is_refused", |client| expect_anonymous_fd_refused(client, Kind::Signalfd)),
    ("an_inotify_fd_is_refused", |client| expect_anonymous_fd_refused(client, Kind::Inotify)),
    ("a_fanotify_fd_is_refused", |client| expect_anonymous_fd_refused(client, Kind::Fanotify)),
    ("an_io_uring_fd_is_refused", |client| expect_anonymous_fd_refused(client, Kind::IoUring)),
    ("a_userfaultfd_is_refused", |client| expect_anonymous_fd_refused(client, Kind::Userfaultfd)),
    ("a_pidfd_is_refused", |client| expect_anonymous_fd_refused(client, Kind::Pidfd)),
    ("a_bpf_map_is_refused", |client| expect_anonymous_fd_refused(client, Kind::BpfMap)),
    ("a_perf_event_fd_is_refused", |client| expect_anonymous_fd_refused(client, Kind::PerfEvent)),
    ("a_landlock_ruleset_is_refused", |client| {
        expect_anonymous_fd_refused(client, Kind::LandlockRuleset)
    }),
    ("a_memfd_is_refused", |client| expect_anonymous_fd_refused(client, Kind::Memfd)),
    ("a_secret_memfd_is_refused", |client| expect_anonymous_fd_refused(client, Kind::SecretMemfd)),
    ("a_pipe_is_refused", |client| expect_anonymous_fd_refused(client, Kind::Pipe)),
    ("a_socket_is_refused", |client| expect_anonymous_fd_refused(client, Kind::Socket)),
];

fn load(
    client: &Client,
    source: impl AsFd,
) -> Result<Result<(), dmabuf_loader_client::ClientError>> {
    Ok(client.loader.load(LoadSpec::whole_file(source)?).map(drop))
}

fn sources_must_be_regular_files(client: &Client) -> Result<()> {
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

/// By their mode they are regular files.
fn files_without_storage_are_refused(client: &Client) -> Result<()> {
    for (path, denied) in [
        ("/proc/self/status", "dev=\"proc\""),
        ("/proc/self/ns/mnt", "dev=\"nsfs\""),
        ("/sys/fs/cgroup/cgroup.procs", "dev=\"cgroup"),
        ("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "dev=\"sysfs\""),
    ] {
        let source = match File::open(path) {
            Ok(source) => source,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                println!("EXPECT-AVC: {denied}");
                continue;
            }
            // The kernel or the device lacks it.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).context(path),
        };
        let code = LoaderError::UNSUPPORTED_FILE;
        expect_refusal_or_block(load(client, &source)?, code, "files[0]: is ", Some(denied))
            .context(path)?;
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

/// The call fails before the fd reaches the service, which keeps running.
fn a_closed_source_fails_the_call_only(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 1, 4096)?;
    let spec = LoadSpec::whole_file(file.buffered()?)?;
    let closed: &OwnedFd = spec.request.files[0].as_ref();
    nix::unistd::close(closed.as_raw_fd()).context("close")?;
    let result = (**client.loader.service()).load(&spec.request);
    // The fd is closed already, and its number may be in use again.
    std::mem::forget(spec);
    ensure!(result.is_err(), "a closed fd was loaded from");
    client.heaps().map(drop)
}

fn targets_must_be_dma_bufs(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 1, 4096)?;
    let source = open_for_load(file.path())?;
    let regular = OpenOptions::new().read(true).write(true).open(file.path())?;
    let mut targets = vec![OwnedFd::from(regular)];
    match dmabuf_uapi::memfd::create_sealed(c"vts", 4096) {
        Ok(memfd) => targets.push(memfd),
        // SELinux labels memfds only for some client domains.
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

/// The buffer stays unchanged, whichever path is requested.
fn a_read_only_target_is_refused(client: &Client) -> Result<()> {
    let own = allocate_read_only(own_system_heap()?, 1 << 20)?;
    let files = Files::new()?;
    let file = files.patterned("f", 1, 1 << 20)?;
    let spec =
        || Ok::<_, anyhow::Error>(LoadSpec::whole_file(file.direct()?)?.into_existing(&own)?);
    let mut specs = vec![spec()?, LoadSpec::whole_file(file.buffered()?)?.into_existing(&own)?];
    for path in
        [LoadPath::COPY_FILE_RANGE, LoadPath::UDMABUF_DIRECT, LoadPath::BOUNCE, LoadPath::BUFFERED]
    {
        specs.push(spec()?.paths([path]));
    }
    for spec in specs {
        let expected = "target.existing: is not open for reading and writing";
        expect_refusal(client.loader.load(spec).map(drop), LoaderError::BAD_FD, expected)?;
    }
    let mapped = MappedBuffer::of_dma_buf(own.as_fd(), 0..1 << 20, CpuAccess::READ)?;
    let mut bytes = vec![UNTOUCHED; 1 << 20];
    mapped.read(0, &mut bytes)?;
    mapped.finish()?;
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

fn unwritable_files_of_a_save_are_refused(client: &Client) -> Result<()> {
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

fn only_a_dma_buf_can_be_saved(client: &Client) -> Result<()> {
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

/// Expects that the fd is refused in every place of a request, before and after the service has
/// seen an epoll fd: an epoll fd answers `DMA_BUF_IOCTL_SYNC` as a dma-buf does and has the device
/// number of other anonymous files.
fn expect_anonymous_fd_refused(client: &Client, kind: Kind) -> Result<()> {
    let fd = open_anonymous(kind)?;
    let files = Files::new()?;
    let file = files.patterned("f", 1, 4096)?;
    expect_refused_everywhere(client, kind, &fd, &file)?;
    expect_refused_everywhere(client, Kind::Epoll, &Kind::Epoll.open()?, &file)?;
    expect_refused_everywhere(client, kind, &fd, &file)?;
    let contents = vts_support::files::content(file.path())?;
    ensure!(contents == file.expected(0, 4096), "a refused request wrote to its file");
    // If the service had died and been restarted, this connection would be dead.
    client.heaps().map(drop)
}

fn expect_refused_everywhere(
    client: &Client,
    kind: Kind,
    fd: &OwnedFd,
    file: &TestFile,
) -> Result<()> {
    let refused = |result, argument: &str| {
        let code = LoaderError::UNSUPPORTED_FILE;
        expect_refusal_or_block(result, code, argument, Some(kind.denial()))
            .with_context(|| format!("{kind} as {argument}..."))
    };
    let target = LoadSpec::whole_file(file.buffered()?)?.into_existing(fd)?;
    refused(client.loader.load(target).map(drop), "target.existing: is ")?;
    let output = OpenOptions::new().write(true).open(file.path())?;
    let buffer = SaveSpec::from_buffer(fd)?.file(&output)?.segment(Segment::default());
    refused(client.loader.save(buffer).map(drop), "buffer: is ")?;
    if matches!(kind, Kind::Memfd | Kind::SecretMemfd | Kind::Pidfd) {
        // Both kinds of memfd are regular files, and so is a pidfd on some kernels.
        return Ok(());
    }
    refused(load(client, fd)?, "files[0]: is ")?;
    let own = client.loader.allocate(&sized_buffer("", 4096))?;
    let saved = SaveSpec::from_buffer(self::fd(&own)?)?.file(fd)?.segment(Segment::default());
    refused(client.loader.save(saved).map(drop), "files[0]: is ")
}

/// Opens an fd of a kind; skips the test if the kernel lacks the kind or the client may not open
/// it.
fn open_anonymous(kind: Kind) -> Result<OwnedFd> {
    kind.open().map_err(|errno| {
        if errno == Errno::ACCESS {
            println!("EXPECT-AVC: {}", kind.denial());
        }
        let reason = format!("{kind}: {errno}");
        if kind.is_optional() || errno == Errno::ACCESS {
            skip(reason)
        } else {
            anyhow::anyhow!(reason)
        }
    })
}
