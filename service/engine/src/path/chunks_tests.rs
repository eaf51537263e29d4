// SPDX-License-Identifier: Apache-2.0
//! Calls in flight, against a kernel that is made up.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Barrier;
use std::thread::{self, ThreadId};

use dmabuf_uapi::dma_buf::CpuAccess;

use dmabuf_uapi::Errno;

use super::super::bounce_memory::BounceMemory;
use super::super::range_copy::IoResources;
use super::*;
use crate::buffer::{BufferKind, BufferView, CpuView};
use crate::context::{ClientId, Context};
use crate::error::EngineError;
use crate::file::OpenFile;
use crate::io_path::Direction;
use crate::operation::Operation;
use crate::threads::Threads;

const CHUNK: u64 = 8192;
const CHUNKS: u64 = 8;
/// A whole number of blocks of any file.
const BLOCK: usize = 4096;
const LEN: u64 = CHUNKS * CHUNK;
/// What the buffer holds before the load.
const BEFORE: u8 = 0x11;
/// What the made-up kernel loads.
const LOADED: u8 = 0x22;
const OPERATION: Operation = Operation::ReadFileDirectly;

/// A file, which is not read, and a buffer.
struct Rig {
    file: File,
    memfd: OwnedFd,
    context: Context,
    /// What was reported as moved.
    moved: Mutex<Vec<std::ops::Range<u64>>>,
}

impl Rig {
    fn new() -> Self {
        let memfd = dmabuf_uapi::memfd::create_sealed(c"in-flight", LEN).unwrap();
        rustix::io::pwrite(&memfd, &[BEFORE; LEN as usize], 0).unwrap();
        let file = File::open("/proc/self/exe").unwrap();
        let context = Context::new(ClientId(0));
        Self { file, memfd, context, moved: Mutex::default() }
    }

    fn with_copy<T>(&self, test: impl FnOnce(RangeCopy<'_, '_>) -> T) -> T {
        let fd = self.file.as_fd().try_clone_to_owned().unwrap();
        let file = OpenFile::inspect(fd.into(), 0, Direction::Load).unwrap();
        let view = BufferView::new(self.memfd.as_fd(), LEN, BufferKind::Memfd);
        let buffer = CpuView::new(view, CpuAccess::WRITE);
        let resources =
            IoResources { threads: Threads::new(8), bounce_memory: BounceMemory::default() };
        let range = ResolvedSegment {
            file_index: 0,
            file_offset_bytes: 0,
            buffer_offset_bytes: 0,
            len_bytes: LEN,
        };
        test(RangeCopy {
            direction: Direction::Load,
            file: &file,
            buffer: &buffer,
            range,
            batch_bytes: CHUNK_BYTES,
            resources: &resources,
            context: &self.context,
            moved: &|part| self.moved.lock().unwrap().push(part),
        })
    }

    /// Loads by small chunks.
    fn load(
        &self,
        threads: usize,
        call: impl Fn(u64, usize) -> KernelResult<usize> + Sync,
    ) -> Result<Moved> {
        self.with_copy(|copy| Chunks::new(&copy, CHUNK, true, OPERATION, call).load(threads))
    }

    fn put(&self, place: u64, len: usize) -> KernelResult<usize> {
        Ok(rustix::io::pwrite(&self.memfd, &vec![LOADED; len], place).unwrap())
    }

    /// The byte that a chunk is filled with.
    fn filled_with(&self, chunk: u64) -> u8 {
        let mut bytes = [0; CHUNK as usize];
        rustix::io::pread(&self.memfd, &mut bytes, chunk * CHUNK).unwrap();
        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "chunk {chunk} is a mixture");
        bytes[0]
    }
}

/// Calls in the order in which they began.
#[derive(Default)]
struct Calls(Mutex<Vec<(u64, usize, ThreadId)>>);

impl Calls {
    fn note(&self, done: u64, len: usize) {
        self.0.lock().unwrap().push((done, len, thread::current().id()));
    }

    fn places(self) -> Vec<(u64, usize)> {
        let calls = self.0.into_inner().unwrap();
        calls.into_iter().map(|(done, len, _)| (done, len)).collect()
    }
}

fn complete() -> Result<Moved> {
    Ok(Moved::bytes(LEN))
}

#[test]
fn every_chunk_is_loaded_once() {
    for threads in 1..=4 {
        let (rig, calls) = (Rig::new(), Calls::default());
        let outcome = rig.load(threads, |done, len| {
            calls.note(done, len);
            rig.put(done, len)
        });
        assert_eq!(outcome, complete());
        let mut places = calls.places();
        if threads > 1 {
            places.sort_unstable();
        }
        let expected: Vec<(u64, usize)> =
            (0..CHUNKS).map(|chunk| (chunk * CHUNK, CHUNK as usize)).collect();
        assert_eq!(places, expected, "{threads} threads");
        assert!((0..CHUNKS).all(|chunk| rig.filled_with(chunk) == LOADED));
    }
}

#[test]
fn as_many_calls_are_in_flight_as_there_are_threads() {
    const THREADS: usize = 4;
    let (barrier, calls) = (Barrier::new(THREADS), Calls::default());
    let outcome = Rig::new().load(THREADS, |done, len| {
        calls.note(done, len);
        // Nobody goes on before all are here.
        barrier.wait();
        Ok(len)
    });
    assert_eq!(outcome, complete());
    let mut threads: Vec<ThreadId> = Vec::new();
    for (_, _, thread) in calls.0.into_inner().unwrap() {
        if !threads.contains(&thread) {
            threads.push(thread);
        }
    }
    assert_eq!(threads.len(), THREADS);
    assert!(threads.contains(&thread::current().id()));
}

#[test]
fn a_chunk_is_loaded_by_as_many_calls_as_it_takes() {
    let (rig, calls) = (Rig::new(), Calls::default());
    let interrupted = AtomicU64::new(0);
    let outcome = rig.load(3, |done, len| {
        if done == CHUNK && interrupted.fetch_add(1, Ordering::Relaxed) == 0 {
            return Err(Errno::INTR);
        }
        calls.note(done, len);
        rig.put(done, len.min(BLOCK))
    });
    assert_eq!(outcome, complete(), "a short count of whole blocks is not the end");
    assert_eq!(interrupted.into_inner(), 2);
    assert!(calls.places().contains(&(CHUNK + BLOCK as u64, CHUNK as usize - BLOCK)));
    assert!((0..CHUNKS).all(|chunk| rig.filled_with(chunk) == LOADED));
}

#[test]
fn nothing_is_begun_behind_the_end_of_the_file() {
    let calls = Calls::default();
    let outcome = Rig::new().load(1, |done, len| {
        calls.note(done, len);
        Ok(if done == 2 * CHUNK { 100 } else { len })
    });
    assert_eq!(outcome, Ok(Moved { bytes: 2 * CHUNK + 100, refused: None }));
    assert_eq!(calls.places().last(), Some(&(2 * CHUNK, CHUNK as usize)));
}

/// Loads by two threads; the second chunk gets `answer` when the third has been loaded.
fn load_with_a_late_second_chunk(rig: &Rig, answer: KernelResult<usize>) -> Result<Moved> {
    let third_is_loaded = Barrier::new(2);
    rig.load(2, |done, len| match done / CHUNK {
        1 => {
            third_is_loaded.wait();
            answer
        }
        2 => {
            let loaded = rig.put(done, len);
            third_is_loaded.wait();
            loaded
        }
        0 => rig.put(done, len),
        _ => Ok(0),
    })
}

#[test]
fn what_was_loaded_behind_a_refused_chunk_is_zeroed() {
    let rig = Rig::new();
    let outcome = load_with_a_late_second_chunk(&rig, Err(Errno::BUSY));
    assert_eq!(outcome, Ok(Moved { bytes: CHUNK, refused: Some(Errno::BUSY) }));
    assert_eq!([0, 1, 2].map(|chunk| rig.filled_with(chunk)), [LOADED, 0, 0]);
    assert_eq!(rig.filled_with(CHUNKS - 1), BEFORE);
}

#[test]
fn a_refusal_of_the_first_chunk_leaves_the_buffer_alone() {
    let rig = Rig::new();
    let outcome = rig.load(4, |_, _| Err(Errno::INVAL));
    assert_eq!(outcome, Ok(Moved { bytes: 0, refused: Some(Errno::INVAL) }));
    assert!((0..CHUNKS).all(|chunk| rig.filled_with(chunk) == BEFORE));
}

#[test]
fn what_is_behind_the_end_of_the_file_does_not_count() {
    let outcome = load_with_a_late_second_chunk(&Rig::new(), Ok(0));
    assert_eq!(outcome, Ok(Moved { bytes: CHUNK, refused: None }));
}

#[test]
fn an_error_is_that_of_the_operation() {
    let outcome = load_with_a_late_second_chunk(&Rig::new(), Err(Errno::IO));
    assert_eq!(outcome, Err(EngineError::io(OPERATION, Errno::IO)));
}

#[test]
fn the_first_chunk_that_is_incomplete_decides() {
    let answers = [Ok(100), Err(Errno::IO), Err(Errno::BUSY)];
    for (first, second) in answers.iter().flat_map(|a| answers.iter().map(move |b| (*a, *b))) {
        let alone = Rig::new().load(1, |_, _| first);
        let second_is_met = Barrier::new(2);
        let outcome = Rig::new().load(2, |done, _| {
            if done / CHUNK == 0 {
                second_is_met.wait();
                // The other thread notes its answer meanwhile, or a little later.
                thread::sleep(std::time::Duration::from_millis(2));
                first
            } else {
                second_is_met.wait();
                second
            }
        });
        assert_eq!(outcome, alone, "{first:?}, then {second:?}");
    }
}

#[test]
fn only_large_loads_are_cut() {
    let large = 2 * CHUNK_BYTES;
    for (len_bytes, is_cut) in [(large, true), (large - BLOCK as u64, false)] {
        let (calls, both) = (Calls::default(), Barrier::new(2));
        let outcome = Rig::new().with_copy(|copy| {
            let copy = RangeCopy { range: ResolvedSegment { len_bytes, ..copy.range }, ..copy };
            in_chunks(&copy, true, OPERATION, |done, len| {
                calls.note(done, len);
                if is_cut {
                    both.wait();
                }
                Ok(len)
            })
        });
        assert_eq!(outcome, Ok(Moved::bytes(len_bytes)));
        let calls = calls.0.into_inner().unwrap();
        let by_one = calls.iter().all(|(_, _, thread)| *thread == thread::current().id());
        assert_eq!(by_one, !is_cut, "{len_bytes} bytes");
        assert!(calls.iter().all(|(_, len, _)| *len as u64 <= CHUNK_BYTES));
    }
}

#[test]
fn smaller_calls_stay_parallel_and_report_each() {
    let (rig, both) = (Rig::new(), Barrier::new(2));
    let outcome = rig.with_copy(|copy| {
        let copy = RangeCopy { batch_bytes: BLOCK as u64, ..copy };
        Chunks::new(&copy, LEN / 2, true, OPERATION, |_, len| {
            // Two chunks are in flight at each call.
            both.wait();
            Ok(len)
        })
        .load(2)
    });
    assert_eq!(outcome, complete());
    let mut moved = rig.moved.into_inner().unwrap();
    moved.sort_by_key(|part| part.start);
    let expected: Vec<_> = (0..LEN / BLOCK as u64)
        .map(|call| call * BLOCK as u64..(call + 1) * BLOCK as u64)
        .collect();
    assert_eq!(moved, expected);
}

#[test]
fn a_cancelled_load_ends_after_the_calls_in_flight() {
    let (rig, calls, all) = (Rig::new(), Calls::default(), Barrier::new(4));
    let outcome = rig.load(4, |done, len| {
        calls.note(done, len);
        all.wait();
        rig.context.cancel.cancel();
        Ok(len.min(BLOCK))
    });
    assert_eq!(outcome, Err(EngineError::Cancelled));
    assert_eq!(calls.places().len(), 4);
}

/// The caller zeroes only what a direct load leaves behind the end.
#[test]
fn a_buffered_load_of_a_file_that_ends_leaves_nothing_behind_the_end() {
    let rig = Rig::new();
    let moved = rig.with_copy(|copy| {
        Chunks::new(&copy, CHUNK, false, OPERATION, |done, len| {
            // The file was cut while its second chunk was loaded, and the third was faster.
            let len = if done < CHUNK { len } else { len * usize::from(done >= 2 * CHUNK) };
            rig.put(done, len)
        })
        .load(1)
    });
    assert_eq!(moved, Ok(Moved::bytes(CHUNK)));
    assert_eq!(rig.filled_with(0), LOADED);
    assert_eq!(rig.filled_with(1), 0);
}
