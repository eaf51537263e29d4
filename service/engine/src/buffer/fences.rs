// SPDX-License-Identifier: Apache-2.0
//! Waiting, for a limited time, for the devices that use a buffer: for the fences in it.
//!
//! A client can put a new fence into its buffer between the wait and the call that would wait for
//! it in the kernel. Only a signal ends that call, and nothing simpler: it has no time limit, and
//! no thread may be lost to it.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use dmabuf_uapi::dma_buf::{wait_for_fences, CpuAccess};
use dmabuf_uapi::interruption::Interruption;

use crate::context::Context;
use crate::error::{EngineError, Result};
use crate::operation::Operation;

/// How long a request waits for the devices that use its buffer. Longer than a frame of a camera or
/// a GPU takes; a client whose device needs more time calls again.
const PATIENCE: Duration = Duration::from_secs(1);

/// A cancelled request waits on for so long at most.
const SLICE: Duration = Duration::from_millis(20);

/// How long a call may wait in the kernel for fences that came after the wait here.
const LIMIT_IN_KERNEL: Duration = Duration::from_millis(250);

/// How often such a call is repeated.
pub(crate) const MAX_INTERRUPTED: u32 = 2;

/// Limits the wait of a call that waits for fences; the call fails with `INTR` then. `None` where
/// the process has no room for another timer.
pub(super) fn limit_in_kernel() -> Option<Interruption> {
    Interruption::after(LIMIT_IN_KERNEL).ok()
}

/// Waits until no device is in the way of this access to a client's buffer.
///
/// # Errors
/// [`EngineError::Busy`] after [`PATIENCE`]; those of the request's context, within [`SLICE`].
pub(super) fn wait_for_devices(
    fd: BorrowedFd<'_>,
    access: CpuAccess,
    context: &Context,
) -> Result<()> {
    for _ in 0..PATIENCE.as_millis() / SLICE.as_millis() {
        if are_done(fd, access, SLICE)? {
            return Ok(());
        }
        context.check()?;
    }
    Err(EngineError::Busy)
}

/// Whether no device uses a buffer any more, in any way. Does not wait.
pub(crate) fn is_unused_by_devices(fd: BorrowedFd<'_>) -> bool {
    are_done(fd, CpuAccess::WRITE, Duration::ZERO) == Ok(true)
}

fn are_done(fd: BorrowedFd<'_>, access: CpuAccess, timeout: Duration) -> Result<bool> {
    wait_for_fences(fd, access, timeout)
        .map_err(|errno| EngineError::io(Operation::WaitForDevices, errno))
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};
    use std::time::Instant;

    use super::*;
    use crate::context::ClientId;

    /// An eventfd that nobody writes to stands for a buffer that a device never stops to write to.
    fn fenced() -> OwnedFd {
        rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap()
    }

    fn wait(context: &Context) -> (Result<()>, Duration) {
        let begin = Instant::now();
        let ended = wait_for_devices(fenced().as_fd(), CpuAccess::READ, context);
        (ended, begin.elapsed())
    }

    #[test]
    fn a_request_does_not_wait_for_a_device_for_ever() {
        let (ended, took) = wait(&Context::new(ClientId(0)));
        assert_eq!(ended, Err(EngineError::Busy));
        assert!(took >= PATIENCE, "{took:?}");
    }

    #[test]
    fn a_deadline_and_a_cancel_end_the_wait_for_a_device() {
        let context = Context::new(ClientId(0));
        let deadline = Some(Instant::now() + SLICE);
        let (ended, took) = wait(&Context { deadline, ..context.clone() });
        assert_eq!(ended, Err(EngineError::DeadlineExceeded));
        assert!(took < PATIENCE, "{took:?}");
        context.cancel.cancel();
        let (ended, took) = wait(&context);
        assert_eq!(ended, Err(EngineError::Cancelled));
        assert!(took < PATIENCE, "{took:?}");
    }

    #[test]
    fn only_a_buffer_without_fences_is_unused() {
        let buffer = fenced();
        assert!(is_unused_by_devices(buffer.as_fd()));
        // A full counter takes nothing more, as a buffer that a device still reads.
        rustix::io::write(&buffer, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        assert!(!is_unused_by_devices(buffer.as_fd()));
    }
}
