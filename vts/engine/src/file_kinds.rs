// SPDX-License-Identifier: Apache-2.0
//! Tests of each kind of file that F2FS has: whatever the file system makes of `O_DIRECT`, the
//! bytes are right and the report says which path moved them.
//!
//! The tests find out without the engine whether direct I/O is direct: they read the file and count
//! its pages in the page cache.

use std::fs::File;

use anyhow::{bail, ensure, Context, Result};
use dmabuf_engine::request::{Length, Policy, Segment};
use dmabuf_engine::{
    ClientId, Engine, EngineError, IoPath, LoadOutcome, PathName, PoolConfig, Reason,
};
use dmabuf_uapi::mapping::Mapping;
use dmabuf_uapi::page_cache::cached_pages;
use dmabuf_uapi::Errno;
use libtest_mimic::Trial;
use vts_support::files::{drop_cache, Files, Mode};
use vts_support::outcome::{skip, trial};
use vts_support::pattern::{assert_filled, assert_same};

use crate::kind_files::{self, KindFile};
use crate::load::{contents, engine, load, made, new_buffer};

const CLIENT: ClientId = ClientId(1000);
const HEAPS: [&str; 2] = ["system", "udmabuf"];
const BLOCK_BYTES: u64 = 4096;

/// The range to load, in bytes.
#[derive(Clone, Copy, Debug)]
struct Range {
    file_offset: u64,
    buffer_offset: u64,
    /// `None`: to the end of the file.
    len: Option<u64>,
}

const WHOLE: Range = Range { file_offset: 0, buffer_offset: 0, len: None };

/// How F2FS serves direct reads of a kind of file.
#[derive(Clone, Copy, Debug)]
enum Reads {
    Direct,
    /// Buffered, without an error; the report's detail contains this text.
    Buffered(&'static str),
    /// Depends on the mount; if buffered, the report's detail contains this text.
    Either(&'static str),
}

type Make = fn(&Files) -> Result<KindFile>;

const KINDS: [(&str, Make, Reads, Range); 9] = [
    ("ordinary", kind_files::ordinary, Reads::Direct, WHOLE),
    ("with_holes", kind_files::with_holes, Reads::Direct, WHOLE),
    ("pinned", kind_files::pinned, Reads::Direct, WHOLE),
    ("inline", kind_files::inline, Reads::Buffered("in its inode"), WHOLE),
    ("compressed", kind_files::compressed, Reads::Buffered("compressed"), WHOLE),
    ("verity", kind_files::verity, Reads::Buffered("fs-verity"), WHOLE),
    ("encrypted", kind_files::encrypted, Reads::Either("encrypted"), WHOLE),
    (
        "from_offset_512",
        kind_files::ordinary,
        Reads::Direct,
        Range { file_offset: 512, buffer_offset: 512, len: Some(300 * 512) },
    ),
    (
        "from_offset_512_to_another_modulo_4096",
        kind_files::ordinary,
        Reads::Direct,
        Range { file_offset: 512, buffer_offset: 1024, len: Some(300 * 512) },
    ),
];

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![trial(
        "file_kinds",
        "reads_from_offset_512_are_silently_buffered",
        reads_from_offset_512_are_silently_buffered,
    )];
    for kind in KINDS {
        for heap in HEAPS {
            let name = format!("{}/{heap}", kind.0);
            trials.push(trial("file_kinds", &name, move || {
                loads_report_the_path_that_moved_the_bytes(kind, heap)
            }));
        }
    }
    trials
}

fn watched_pages(file: &File) -> Result<u64> {
    match cached_pages(file) {
        Err(Errno::NOSYS) => Err(skip("the kernel has no cachestat(2)")),
        pages => pages.context("cachestat"),
    }
}

/// Calls `action` and counts the pages by which the page cache of the file grows.
fn growth_pages<T>(file: &KindFile, action: impl FnOnce() -> T) -> Result<(T, u64)> {
    let watched = file.open(Mode::Buffered)?;
    drop_cache(&watched)?;
    let before = watched_pages(&watched)?;
    let done = action();
    Ok((done, watched_pages(&watched)?.saturating_sub(before)))
}

/// Whether a direct read of the file from this offset leaves the page cache unchanged.
fn reads_directly(file: &KindFile, offset: u64) -> Result<bool> {
    let len = (file.content.len() as u64 - offset).next_multiple_of(BLOCK_BYTES) as usize;
    let memory = Mapping::anonymous(len)?;
    let direct = file.open(Mode::Direct)?;
    let (read, growth) = growth_pages(file, || memory.pread(0..len, &direct, offset))?;
    let read = read.context("reading with O_DIRECT")?;
    ensure!(read > 0, "nothing read");
    let mut bytes = vec![0; read];
    memory.read(0, &mut bytes)?;
    assert_same(&bytes, &file.content[offset as usize..offset as usize + read], "read");
    Ok(growth == 0)
}

/// Shows the trap that the engine must avoid: the kernel reports no error.
fn reads_from_offset_512_are_silently_buffered() -> Result<()> {
    let files = Files::new()?;
    let file = kind_files::ordinary(&files)?;
    ensure!(reads_directly(&file, BLOCK_BYTES)?, "from offset {BLOCK_BYTES}: buffered");
    ensure!(!reads_directly(&file, 512)?, "from offset 512: direct");
    Ok(())
}

fn loads_report_the_path_that_moved_the_bytes(
    kind: (&str, Make, Reads, Range),
    heap: &str,
) -> Result<()> {
    let (name, make, reads, range) = kind;
    let files = Files::new()?;
    let file = make(&files)?;
    let is_direct = reads_directly(&file, 0)?;
    println!("INFO: {name}: direct reads are {}", if is_direct { "direct" } else { "buffered" });
    let detail = match reads {
        Reads::Direct => {
            ensure!(is_direct, "the file system reads it through the page cache");
            ""
        }
        Reads::Buffered(detail) => {
            ensure!(!is_direct, "the file system reads it directly");
            detail
        }
        Reads::Either(detail) => detail,
    };
    let engine = engine(PoolConfig::OFF);
    let copies_files = copies_files(&engine, heap)?;
    let expectation = |mode| Expectation {
        copies_files,
        is_backed: heap == "udmabuf",
        is_direct,
        is_aligned: range.file_offset % BLOCK_BYTES == range.buffer_offset % BLOCK_BYTES,
        has_buffered_fd: mode == Mode::Buffered || !is_direct,
        detail,
    };
    let named = PathName::ALL.map(Policy::only);
    for policy in [Policy::AUTO, Policy::REQUIRE_DIRECT].into_iter().chain(named) {
        for mode in Mode::ALL {
            load_and_check(&engine, heap, policy, &file, mode, range, &expectation(mode))
                .with_context(|| format!("{policy:?}, file opened {mode:?}"))?;
        }
    }
    Ok(())
}

pub fn copies_files(engine: &Engine, heap: &str) -> Result<bool> {
    let mut paths = engine.paths().iter().filter(|path| path.heap == heap);
    let copy = paths.find(|path| path.path == PathName::CopyFileRange);
    Ok(copy.ok_or_else(|| skip(format!("no heap {heap}")))?.support.supported)
}

fn load_and_check(
    engine: &Engine,
    heap: &str,
    policy: Policy,
    file: &KindFile,
    mode: Mode,
    range: Range,
    expect: &Expectation,
) -> Result<()> {
    let source = file.open(mode)?;
    let segment = Segment {
        file_index: 0,
        file_offset_bytes: range.file_offset,
        length: range.len.map_or(Length::ToEnd, Length::Bytes),
        buffer_offset_bytes: range.buffer_offset,
    };
    let new = new_buffer(heap, 0);
    let (outcome, growth) =
        growth_pages(file, || load(engine, CLIENT, new, policy, &source, &[segment]))?;
    match (outcome, expect.path(policy)) {
        (Ok(outcome), Some(path)) => {
            expect.check_report(policy, path, &outcome, growth)?;
            check_bytes(outcome, file, range)
        }
        (Err(error), None) => expect.check_error(policy, &error),
        (Ok(outcome), None) => bail!("it moved: {:?}", outcome.report),
        (Err(error), Some(path)) => Err(error).with_context(|| format!("expected {path}")),
    }
}

fn check_bytes(outcome: LoadOutcome, file: &KindFile, range: Range) -> Result<()> {
    let start = range.file_offset as usize;
    let expected = match range.len {
        Some(len) => &file.content[start..start + len as usize],
        None => &file.content[start..],
    };
    let bytes = contents(&made(outcome)?)?;
    let (before, rest) = bytes.split_at(range.buffer_offset as usize);
    let (loaded, after) = rest.split_at(expected.len());
    assert_filled(before, 0, "before the segment");
    assert_same(loaded, expected, "loaded");
    assert_filled(after, 0, "after the segment");
    Ok(())
}

/// The facts that decide which path moves a file, found without the engine, except what the kernel
/// supports.
struct Expectation {
    /// The kernel copies from files to buffers of this heap.
    copies_files: bool,
    /// The buffer has a memfd.
    is_backed: bool,
    is_direct: bool,
    /// The offsets in file and buffer are equal modulo the block size.
    is_aligned: bool,
    /// The engine has an fd without `O_DIRECT`. It opens one if direct I/O is not direct, but not
    /// for a path that no request needs.
    has_buffered_fd: bool,
    /// Text that the engine's detail must contain if the file prevents direct I/O.
    detail: &'static str,
}

impl Expectation {
    /// The reason why a path cannot move the file.
    fn obstacle(&self, path: IoPath) -> Option<Reason> {
        let of_file = if !self.is_direct {
            Some(Reason::FileNotDirect)
        } else if path.is_direct() && !self.is_aligned {
            Some(Reason::Unaligned)
        } else {
            None
        };
        match path {
            IoPath::CopyFileRangeDirect | IoPath::CopyFileRangeBuffered if !self.copies_files => {
                Some(Reason::KernelUnsupported)
            }
            IoPath::UdmabufDirect if !self.is_backed => Some(Reason::HeapUnsuitable),
            IoPath::CopyFileRangeDirect | IoPath::UdmabufDirect | IoPath::Bounce => of_file,
            IoPath::CopyFileRangeBuffered if !self.has_buffered_fd => {
                Some(Reason::FileOpenedDirect)
            }
            IoPath::CopyFileRangeBuffered | IoPath::Buffered => None,
        }
    }

    /// The engine maps no memfd for a buffer that copy_file_range fills, so direct reads into the
    /// memfd are impossible for this reason, too.
    fn is_left_unmapped(&self, found: (IoPath, Option<Reason>)) -> bool {
        self.copies_files
            && found.0 == IoPath::UdmabufDirect
            && found.1 == Some(Reason::HeapUnsuitable)
    }

    /// The path that a load takes, or `None` if the load fails.
    fn path(&self, policy: Policy) -> Option<IoPath> {
        let possible = |path: &IoPath| policy.permits(*path) && self.obstacle(*path).is_none();
        IoPath::CHEAPEST_FIRST.into_iter().find(possible)
    }

    fn check_report(
        &self,
        policy: Policy,
        path: IoPath,
        outcome: &LoadOutcome,
        growth_pages: u64,
    ) -> Result<()> {
        let report = &outcome.report;
        ensure!(report.path() == Some(path), "expected {path}: {report:?}");
        let (direct, buffered) = (report.direct_bytes(), report.buffered_bytes());
        let moved: u64 = outcome.segment_bytes.iter().sum();
        ensure!(direct + buffered == moved, "{moved} bytes moved: {report:?}");
        if path.is_direct() {
            ensure!(buffered < 2 * BLOCK_BYTES, "more than head and tail are buffered: {report:?}");
        } else {
            ensure!(direct == 0, "{report:?}");
        }
        let around_the_cache = match path {
            // If its only fd has O_DIRECT, the buffered path also copies from bounce buffers.
            IoPath::Buffered => !self.has_buffered_fd,
            IoPath::CopyFileRangeBuffered => false,
            IoPath::Bounce | IoPath::CopyFileRangeDirect | IoPath::UdmabufDirect => true,
        };
        ensure!(
            around_the_cache == (growth_pages == 0),
            "the page cache of the file grew by {growth_pages} pages: {report:?}"
        );
        if policy == Policy::AUTO {
            let cheaper = IoPath::CHEAPEST_FIRST.into_iter().take_while(|other| *other != path);
            let expected: Vec<_> = cheaper.map(|path| (path, self.obstacle(path))).collect();
            let found: Vec<_> = report
                .not_taken
                .iter()
                .map(|not| (not.path, Some(not.refusal.reason())))
                .map(|found| {
                    if self.is_left_unmapped(found) {
                        (found.0, self.obstacle(found.0))
                    } else {
                        found
                    }
                })
                .collect();
            ensure!(found == expected, "expected {expected:?}: {report:?}");
            let of_file =
                report.not_taken.iter().filter(|not| not.refusal.reason() == Reason::FileNotDirect);
            for not_taken in of_file {
                self.check_detail(&not_taken.refusal.to_string())?;
            }
        }
        Ok(())
    }

    fn check_error(&self, policy: Policy, error: &EngineError) -> Result<()> {
        match (policy, error) {
            (Policy::REQUIRE_DIRECT, EngineError::DirectIoUnavailable { reason, .. })
                if !self.copies_files || self.is_direct =>
            {
                ensure!(!reason.is_empty());
            }
            (Policy::REQUIRE_DIRECT, EngineError::DirectIoUnavailable { reason, .. }) => {
                self.check_detail(reason)?;
            }
            (_, EngineError::PathUnavailable { reasons, .. }) => {
                let name = PathName::ALL.into_iter().find(|name| policy == Policy::only(*name));
                let (path, reason) = reasons.split_once(": ").context("no reason")?;
                let name = name.context("no path was named")?;
                ensure!(path.starts_with(&name.to_string()) && !reason.is_empty(), "{error}");
                if name == PathName::Bounce {
                    self.check_detail(reason)?;
                }
            }
            _ => bail!("not the documented error: {error}"),
        }
        Ok(())
    }

    fn check_detail(&self, detail: &str) -> Result<()> {
        ensure!(detail.contains(self.detail), "no {:?} in {detail:?}", self.detail);
        Ok(())
    }
}
