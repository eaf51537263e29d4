// SPDX-License-Identifier: Apache-2.0
//! `O_DIRECT` reads into the memfd behind a udmabuf. Needs no support by the kernel's dma-buf code.
//!
//! Only for buffers whose memfd the engine has mapped: nobody else has it, and it is populated.

use dmabuf_uapi::Errno;

use super::chunks::in_chunks;
use super::range_copy::{Moved, RangeCopy};
use crate::buffer::BufferView;
use crate::error::Result;
use crate::io_path::Support;
use crate::operation::Operation;

pub(super) fn probe(sample: &BufferView<'_>) -> Support {
    let supported = sample.backing.is_some();
    let detail = if supported {
        "there is a memfd behind these buffers"
    } else {
        "no memfd is behind these buffers"
    };
    Support { supported, detail: detail.into() }
}

pub(super) fn run(copy: &RangeCopy<'_, '_>) -> Result<Moved> {
    let backing = copy.buffer.buffer().backing;
    let (Some(file), Some(backing)) = (copy.file.direct_fd(), backing) else {
        return Ok(Moved::not_possible());
    };
    // The kernel's CPU zeroes what a hole leaves out.
    if copy.file.facts().is_sparse {
        copy.buffer.begin()?;
    }
    in_chunks(copy, true, Operation::ReadFileDirectly, |done, batch| {
        let start = usize::try_from(copy.range.buffer_offset_bytes + done);
        let start = start.map_err(|_| Errno::OVERFLOW)?;
        let range = start..start.checked_add(batch).ok_or(Errno::OVERFLOW)?;
        backing.mapping().pread(range, file, copy.range.file_offset_bytes + done)
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::{AsFd, OwnedFd};

    use dmabuf_uapi::dma_buf::CpuAccess;

    use super::super::bounce_memory::BounceMemory;
    use super::super::range_copy::IoResources;
    use super::*;
    use crate::buffer::{Backing, BufferKind, BufferView, CpuView, PageKind};
    use crate::context::{ClientId, Context};
    use crate::error::EngineError;
    use crate::file::{Needs, OpenFile};
    use crate::io_path::Direction;
    use crate::request::ResolvedSegment;
    use crate::threads::Threads;

    const LEN: u64 = 4096;

    /// Loads a file of one block into a buffer that has no bracket to begin; `None` where the file
    /// system has no direct I/O.
    fn load_block(content: &[u8]) -> Option<Result<Moved>> {
        let program = std::env::current_exe().unwrap();
        let file = tempfile::tempfile_in(program.parent().unwrap()).unwrap();
        file.set_len(LEN).unwrap();
        rustix::io::pwrite(&file, content, 0).unwrap();
        file.sync_all().unwrap();
        let mut file = OpenFile::inspect(OwnedFd::from(file).into(), 0, Direction::Load).unwrap();
        file.reopen_for(Needs { direct: true, few_bytes: false, unaligned_writes: false });
        file.direct_fd()?;
        let not_a_dma_buf = File::open("/proc/self/exe").unwrap();
        let backing = Backing::create(LEN, PageKind::Base).unwrap();
        let view = BufferView {
            backing: Some(&backing),
            ..BufferView::new(not_a_dma_buf.as_fd(), LEN, BufferKind::DmaBuf)
        };
        let buffer = CpuView::new(view, CpuAccess::WRITE);
        let moved = run(&RangeCopy {
            direction: Direction::Load,
            file: &file,
            buffer: &buffer,
            range: ResolvedSegment {
                file_index: 0,
                file_offset_bytes: 0,
                buffer_offset_bytes: 0,
                len_bytes: LEN,
            },
            batch_bytes: LEN,
            resources: &IoResources {
                threads: Threads::new(0),
                bounce_memory: BounceMemory::default(),
            },
            context: &Context::new(ClientId(0)),
            moved: &|_| {},
        });
        Some(moved)
    }

    #[test]
    fn only_a_hole_needs_the_bracket() {
        let Some(whole) = load_block(&[7; LEN as usize]) else { return };
        assert_eq!(whole, Ok(Moved::bytes(LEN)));
        let no_bracket = EngineError::io(Operation::BeginCpuAccess, Errno::NOTTY);
        assert_eq!(load_block(&[]), Some(Err(no_bracket)));
    }
}
