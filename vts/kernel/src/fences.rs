// SPDX-License-Identifier: Apache-2.0
//! Tests that a copy waits for the fences in the buffer, and that the wait harms nobody else.
//!
//! sw_sync makes the fences, as a device's driver would.

use std::fmt::Debug;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use dmabuf_uapi::dma_buf::CpuAccess;
use dmabuf_uapi::mapping::{Mapping, MappingAccess};
use dmabuf_uapi::Errno;
use libtest_mimic::Trial;
use rustix::process::{kill_process, Pid, Signal};
use vts_support::files::{Files, Mode};
use vts_support::outcome::skip;
use vts_support::pattern::{assert_filled, assert_same, UNTOUCHED};
use vts_uapi::drm_prime::GemHandle;
use vts_uapi::sw_sync::Timeline;
use vts_uapi::sync_file;

use crate::buffer::{Buffer, Exporter};
use crate::busy::vgem;
use crate::helper::{copied_by, wait_for_state, Copy, Direction};
use crate::outcome::exporter_trials;

const PAGE_BYTES: usize = 4096;
/// How long a copy that does not wait would take at most.
const LONG: Duration = Duration::from_millis(300);

pub fn trials() -> Vec<Trial> {
    exporter_trials(
        "fences",
        &[
            ("a_load_waits_for_readers", a_load_waits_for_readers),
            ("a_load_waits_for_writers", a_load_waits_for_writers),
            ("a_save_waits_for_writers", a_save_waits_for_writers),
            ("a_save_does_not_wait_for_readers", a_save_does_not_wait_for_readers),
            ("a_signalled_fence_is_not_in_the_way", a_signalled_fence_is_not_in_the_way),
            ("sigkill_ends_the_wait", sigkill_ends_the_wait),
            ("a_stopped_wait_goes_on", a_stopped_wait_goes_on),
            ("a_device_attaches_during_the_wait", a_device_attaches_during_the_wait),
        ],
    )
}

/// A fence in a buffer that signals when the test says so.
struct Fence {
    timeline: Timeline,
}

impl Fence {
    fn put_into(buffer: &Buffer, access: CpuAccess) -> Result<Self> {
        let timeline = Timeline::create().map_err(|errno| match errno {
            Errno::NOENT => skip("the kernel has no sw_sync"),
            errno => anyhow::Error::new(errno).context("sw_sync"),
        })?;
        sync_file::import(buffer, timeline.create_fence(1)?, access).context("importing")?;
        Ok(Self { timeline })
    }

    fn signal(&self) -> Result<()> {
        Ok(self.timeline.advance(1)?)
    }
}

/// Checks that `copy` does not return before the fence signals, and that `look` sees what it saw
/// before the copy until then.
fn waits<S: PartialEq + Debug>(
    fence: &Fence,
    copy: impl FnOnce() -> Result<usize, Errno> + Send,
    look: impl Fn() -> Result<S>,
) -> Result<()> {
    let before = look()?;
    // An assertion that fails within the scope would wait for the copy, and the copy for the fence.
    let (returned, seen, copied) = thread::scope(|scope| {
        let copy = scope.spawn(copy);
        thread::sleep(LONG);
        let (returned, seen) = (copy.is_finished(), look());
        let signalled = fence.signal();
        (returned, seen, signalled.map(|()| copy.join()))
    });
    let copied = copied?.map_err(|_| anyhow::anyhow!("the copy panicked"))?;
    assert!(!returned, "the copy returned {copied:?} before the fence signalled");
    assert_eq!(seen?, before, "changed before the fence signalled");
    assert_eq!(copied, Ok(PAGE_BYTES));
    Ok(())
}

fn load_waits_for(exporter: Exporter, access: CpuAccess) -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("in", 111, PAGE_BYTES as u64)?;
    for mode in Mode::ALL {
        let buffer = Buffer::filled(exporter, PAGE_BYTES, UNTOUCHED)?;
        // DMA_BUF_IOCTL_SYNC would wait, too.
        let memory = Mapping::shared(&buffer, PAGE_BYTES, MappingAccess::ReadWrite)?;
        let file = source.open(mode)?;
        let fence = Fence::put_into(&buffer, access)?;
        let look = || {
            let mut seen = vec![0; PAGE_BYTES];
            memory.read(0, &mut seen)?;
            Ok(seen)
        };
        waits(&fence, || buffer.load(&file, 0, 0, PAGE_BYTES), look)?;
        assert_same(&buffer.bytes(0, PAGE_BYTES)?, &source.expected(0, PAGE_BYTES), "loaded");
    }
    Ok(())
}

fn a_load_waits_for_readers(exporter: Exporter) -> Result<()> {
    load_waits_for(exporter, CpuAccess::READ)
}

fn a_load_waits_for_writers(exporter: Exporter) -> Result<()> {
    load_waits_for(exporter, CpuAccess::WRITE)
}

fn a_save_waits_for_writers(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let buffer = Buffer::filled(exporter, PAGE_BYTES, UNTOUCHED)?;
    for mode in Mode::ALL {
        let output = mode.open_output(&files.path(&format!("{mode:?}")))?;
        let fence = Fence::put_into(&buffer, CpuAccess::WRITE)?;
        let look = || Ok(output.metadata()?.len());
        waits(&fence, || buffer.save(0, &output, 0, PAGE_BYTES), look)?;
        assert_eq!(output.metadata()?.len(), PAGE_BYTES as u64, "saved");
    }
    Ok(())
}

fn a_save_does_not_wait_for_readers(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let buffer = Buffer::filled(exporter, PAGE_BYTES, UNTOUCHED)?;
    let output = Mode::Buffered.open_output(&files.path("out"))?;
    let fence = Fence::put_into(&buffer, CpuAccess::READ)?;
    assert_eq!(buffer.save(0, &output, 0, PAGE_BYTES), Ok(PAGE_BYTES));
    fence.signal()
}

fn a_signalled_fence_is_not_in_the_way(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("in", 112, PAGE_BYTES as u64)?.buffered()?;
    let buffer = Buffer::new(exporter, PAGE_BYTES)?;
    let fence = Fence::put_into(&buffer, CpuAccess::WRITE)?;
    fence.signal()?;
    assert_eq!(buffer.load(&file, 0, 0, PAGE_BYTES), Ok(PAGE_BYTES));
    // A fence that ends with an error has ended: a timeline that goes away leaves those.
    drop(Fence::put_into(&buffer, CpuAccess::WRITE)?);
    assert_eq!(buffer.load(&file, 0, 0, PAGE_BYTES), Ok(PAGE_BYTES));
    Ok(())
}

/// Starts a load of a page in another process and waits until it sleeps for long.
fn start_load(command: &mut Command) -> Result<Child> {
    let child = command.spawn()?;
    thread::sleep(LONG);
    wait_for_state(&child, 'S').context("a load that waits sleeps")?;
    Ok(child)
}

fn load_command(files: &Files, buffer: &Buffer) -> Result<Command> {
    let source = files.patterned("in", 113, PAGE_BYTES as u64)?;
    let copy = Copy {
        direction: Direction::Load,
        file: source.path(),
        offset_bytes: 0,
        len_bytes: PAGE_BYTES,
        file_size_limit_bytes: None,
    };
    copy.command(buffer)
}

fn sigkill_ends_the_wait(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let buffer = Buffer::filled(exporter, PAGE_BYTES, UNTOUCHED)?;
    let fence = Fence::put_into(&buffer, CpuAccess::WRITE)?;
    let mut child = start_load(&mut load_command(&files, &buffer)?)?;
    child.kill()?;
    // The fence has not signalled: a wait that is not killable hangs the test here.
    let status = child.wait()?;
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "the copy did not wait");
    fence.signal()?;
    assert_filled(&buffer.bytes(0, PAGE_BYTES)?, UNTOUCHED, "buffer");
    // The killed copy is not counted any more.
    let file = File::open(files.path("in"))?;
    assert_eq!(buffer.load(&file, 0, 0, PAGE_BYTES), Ok(PAGE_BYTES), "afterwards");
    Ok(())
}

fn a_stopped_wait_goes_on(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let buffer = Buffer::filled(exporter, PAGE_BYTES, UNTOUCHED)?;
    let fence = Fence::put_into(&buffer, CpuAccess::WRITE)?;
    let child = start_load(&mut load_command(&files, &buffer)?)?;
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::STOP)?;
    let stopped = wait_for_state(&child, 'T').context("a signal ends the wait");
    kill_process(pid, Signal::CONT)?;
    fence.signal()?;
    assert_eq!(copied_by(child)?, Ok(PAGE_BYTES), "the call begins anew after the stop");
    stopped
}

fn a_device_attaches_during_the_wait(exporter: Exporter) -> Result<()> {
    let card = vgem()?;
    let files = Files::new()?;
    let file = files.patterned("in", 114, PAGE_BYTES as u64)?.buffered()?;
    let buffer = Buffer::filled(exporter, PAGE_BYTES, UNTOUCHED)?;
    let fence = Fence::put_into(&buffer, CpuAccess::WRITE)?;
    let (returned, attached, copied) = thread::scope(|scope| {
        let copy = scope.spawn(|| buffer.load(&file, 0, 0, PAGE_BYTES));
        thread::sleep(LONG);
        let attached = GemHandle::import(card.as_fd(), &buffer);
        let returned = copy.is_finished();
        let signalled = fence.signal();
        (returned, attached, signalled.map(|()| copy.join()))
    });
    let copied = copied?.map_err(|_| anyhow::anyhow!("the load panicked"))?;
    assert!(!returned, "the load returned {copied:?} before the fence signalled");
    drop(attached.context("attaching while a copy waits")?);
    assert_eq!(copied, Err(Errno::BUSY), "the device was first");
    assert_eq!(buffer.load(&file, 0, 0, PAGE_BYTES), Ok(PAGE_BYTES), "afterwards");
    Ok(())
}
