// SPDX-License-Identifier: Apache-2.0
//! The CPU's access to a buffer: one bracket for a whole request, and windows into it.
//!
//! Between `DMA_BUF_SYNC_START` and `DMA_BUF_SYNC_END` the exporter keeps the CPU's caches and the
//! devices coherent. Nested brackets would discard dirty cache lines on machines whose devices are
//! not coherent, so that a request has one, begun when the CPU first touches the buffer and ended
//! with the request.
//!
//! A client may have put a fence that never signals into its buffer, or its device hangs, so that a
//! request waits for the devices itself, for a limited time, before it makes a call that waits in
//! the kernel. It can also take the pages of its buffer away, a memfd's or those of a driver that
//! purges: the kernel makes the copies into and out of a client's buffer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use dmabuf_uapi::dma_buf::{CpuAccess, CpuAccessGuard};
use dmabuf_uapi::interruption::Interruption;
use dmabuf_uapi::mapped_range::MappedRange;
use dmabuf_uapi::Errno;

use super::fences::{limit_in_kernel, wait_for_devices, MAX_INTERRUPTED};
use super::view::{BufferKind, BufferView};
use crate::context::Context;
use crate::error::{EngineError, Result};
use crate::operation::Operation;

/// A buffer and the bracket of CPU access that a request has on it.
pub(crate) struct CpuView<'a> {
    view: BufferView<'a>,
    access: CpuAccess,
    /// The request, where a client and its devices may be using the buffer meanwhile.
    shared_with_client: Option<&'a Context>,
    /// No call has been made since the devices were last waited for.
    has_just_waited: AtomicBool,
    bracket: Mutex<Option<CpuAccessGuard<'a>>>,
}

impl<'a> CpuView<'a> {
    /// A buffer that no device uses and that the CPU may touch in this way; it does not yet.
    pub(crate) fn new(view: BufferView<'a>, access: CpuAccess) -> Self {
        let has_just_waited = AtomicBool::new(false);
        Self { view, access, shared_with_client: None, has_just_waited, bracket: Mutex::new(None) }
    }

    /// As [`CpuView::new`], of a buffer that its client and devices may be using.
    pub(crate) fn of_client(view: BufferView<'a>, access: CpuAccess, context: &'a Context) -> Self {
        Self { shared_with_client: Some(context), ..Self::new(view, access) }
    }

    /// The buffer itself.
    pub(crate) fn buffer(&self) -> &BufferView<'a> {
        &self.view
    }

    /// Waits for the devices that use the buffer. To be called before each call to the kernel that
    /// waits for them.
    ///
    /// # Errors
    /// [`EngineError::Busy`] where they go on for too long, those of the request's context.
    pub(crate) fn wait_for_devices(&self) -> Result<()> {
        if self.view.kind == BufferKind::Memfd
            || self.has_just_waited.swap(false, Ordering::Relaxed)
        {
            return Ok(());
        }
        match self.shared_with_client {
            Some(context) => wait_for_devices(self.view.fd, self.access, context),
            None => Ok(()),
        }
    }

    /// Begins the bracket if it has not begun. What the CPU does to the buffer, also by a copy in
    /// the kernel, comes after it.
    ///
    /// # Errors
    /// [`EngineError::Io`] where the exporter refuses; those of [`CpuView::wait_for_devices`].
    pub(crate) fn begin(&self) -> Result<()> {
        if self.view.kind == BufferKind::Memfd {
            return Ok(());
        }
        let mut bracket = self.bracket.lock().unwrap_or_else(PoisonError::into_inner);
        if bracket.is_none() {
            *bracket = Some(self.begin_bracket()?);
            self.has_just_waited.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn begin_bracket(&self) -> Result<CpuAccessGuard<'a>> {
        for _ in 0..=MAX_INTERRUPTED {
            self.wait_for_devices()?;
            let limit = self.limit_in_kernel();
            match CpuAccessGuard::begin_unless_interrupted(self.view.fd, self.access) {
                Err(Errno::INTR) => drop(limit),
                begun => {
                    return begun.map_err(|errno| EngineError::io(Operation::BeginCpuAccess, errno))
                }
            }
        }
        Err(EngineError::Busy)
    }

    /// Limits how long the next call to the kernel waits for devices: see
    /// [`CpuView::wait_for_devices`].
    pub(crate) fn limit_in_kernel(&self) -> Option<Interruption> {
        self.shared_with_client.and_then(|_| limit_in_kernel())
    }

    /// Ends the bracket, with the exporter's verdict.
    ///
    /// # Errors
    /// [`EngineError::Io`].
    pub(crate) fn end(self) -> Result<()> {
        match self.bracket.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(bracket) => {
                bracket.end().map_err(|errno| EngineError::io(Operation::EndCpuAccess, errno))
            }
            None => Ok(()),
        }
    }

    /// A view of a range, in bytes, for the CPU. It must not outlive this bracket.
    ///
    /// Where the buffer is not mapped yet, only the pages of the range are: a mapping of a
    /// system-heap buffer fills its page tables at once.
    ///
    /// # Errors
    /// [`EngineError::Io`]; those of [`CpuView::begin`].
    pub(crate) fn window(&self, offset_bytes: u64, len_bytes: u64) -> Result<MappedRange<'a>> {
        self.begin()?;
        self.map(offset_bytes, len_bytes)
            .map_err(|errno| EngineError::io(Operation::MapBuffer, errno))
    }

    fn map(&self, offset_bytes: u64, len_bytes: u64) -> dmabuf_uapi::Result<MappedRange<'a>> {
        let end = offset_bytes.checked_add(len_bytes).ok_or(Errno::OVERFLOW)?;
        let range = offset_bytes..end;
        match (self.view.backing, self.view.retained) {
            // The same pages, mapped already, and in huge ones as far as they are huge.
            (Some(backing), _) => MappedRange::within(backing.mapping(), range),
            (None, Some(retained)) => {
                MappedRange::within(retained.mapping(self.view.size_bytes)?, range)
            }
            // A client can remove pages from a memfd that it holds, and from a dma-buf of some
            // exporters (purgeable buffers of GPU drivers).
            (None, None) if self.shared_with_client.is_some() => {
                MappedRange::of_others(self.view.fd, range, self.access.into())
            }
            (None, None) => MappedRange::new(self.view.fd, range, self.access.into()),
        }
    }

    /// Sets a range of the buffer to zero, in bytes.
    ///
    /// # Errors
    /// As for [`CpuView::window`].
    pub(crate) fn zero(&self, offset_bytes: u64, len_bytes: u64) -> Result<()> {
        if len_bytes == 0 {
            return Ok(());
        }
        self.window(offset_bytes, len_bytes)?
            .fill_zero(0, len_bytes)
            .map_err(|errno| EngineError::io(Operation::ZeroBuffer, errno))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_window_shows_its_range_of_the_buffer() {
        let memfd = dmabuf_uapi::memfd::create_sealed(c"window", 3 * 4096).unwrap();
        rustix::io::pwrite(&memfd, &[7; 3 * 4096], 0).unwrap();
        let view = BufferView::new(memfd.as_fd(), 3 * 4096, BufferKind::Memfd);
        let access = CpuAccess::READ | CpuAccess::WRITE;
        let cpu = CpuView::new(view, access);
        cpu.zero(4090, 10).unwrap();
        let mut bytes = [1; 12];
        cpu.window(4089, 12).unwrap().read(0, &mut bytes).unwrap();
        assert_eq!(bytes, [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(cpu.end(), Ok(()));
    }

    /// A file that its owner cuts stands for a buffer whose pages its client takes away.
    #[test]
    fn a_client_that_takes_pages_away_fails_its_request_alone() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8192).unwrap();
        let view = BufferView::new(file.as_fd(), 8192, BufferKind::Memfd);
        let context = Context::new(crate::context::ClientId(0));
        let cpu = CpuView::of_client(view, CpuAccess::WRITE, &context);
        cpu.zero(0, 8192).unwrap();
        file.set_len(0).unwrap();
        let error = EngineError::io(Operation::ZeroBuffer, Errno::FAULT);
        assert_eq!(cpu.zero(0, 8192), Err(error));
        assert!(cpu.window(0, 8192).unwrap().read(0, &mut [0; 8192]).is_err());
    }

    #[test]
    fn windows_into_a_dma_buf_need_its_bracket() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let view = BufferView::new(file.as_fd(), 4096, BufferKind::DmaBuf);
        let cpu = CpuView::new(view, CpuAccess::READ);
        let error = cpu.window(0, 1).map(|_| ()).unwrap_err();
        assert_eq!(error, EngineError::io(Operation::BeginCpuAccess, Errno::NOTTY));
        assert_eq!(cpu.end(), Ok(()), "what has not begun need not end");
    }
}
