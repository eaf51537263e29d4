// SPDX-License-Identifier: Apache-2.0
//! Random loads and saves against a model: byte vectors. `$DMABUF_TEST_SEED` is the seed of the
//! first case, `$DMABUF_TEST_SECONDS` how long new cases begin.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dmabuf_uapi::memfd::create_sealed;
use fastrand::Rng;
use rustix::fs::OFlags;

use crate::request::{Length, LoadRequest, NewBuffer, Policy, SaveRequest, Segment, Target};
use crate::{
    ClientId, Context, Engine, EngineConfig, EngineError, PathName, PoolConfig, Progress,
    ProgressSink, Report,
};

const DEFAULT_SEED: u64 = 20_261_128;
const DEFAULT_SECONDS: u64 = 2;
/// From 8 MiB on, a thread digests while the load goes on.
const MAX_FILE_BYTES: u64 = 9 << 20;
const BEFORE: u8 = 0xa5;

#[test]
fn random_requests_move_what_the_model_moves() {
    let setting = |name, default| std::env::var(name).map_or(default, |s| s.parse().expect(name));
    let first = setting("DMABUF_TEST_SEED", DEFAULT_SEED);
    let duration = Duration::from_secs(setting("DMABUF_TEST_SECONDS", DEFAULT_SECONDS));
    let directory = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let engines = [0, 4].map(|max_helper_threads| {
        let config = EngineConfig::new(true, PoolConfig::OFF);
        Engine::new(EngineConfig { max_helper_threads, ..config })
    });
    let mut noise = vec![0; 2 * MAX_FILE_BYTES as usize];
    Rng::with_seed(DEFAULT_SEED).fill(&mut noise);
    let begun = Instant::now();
    let (mut cases, mut possible) = (0, 0);
    for seed in first.. {
        if begun.elapsed() >= duration && cases > 0 {
            break;
        }
        cases += 1;
        let mut rng = Rng::with_seed(seed);
        let engine = rng.choice(&engines).unwrap();
        let mut case = Case { seed, rng, engine, noise: &noise, directory: &directory };
        possible += u64::from(if case.rng.u8(..4) == 0 { case.save() } else { case.load() });
    }
    println!("INFO: {cases} cases from seed {first} on, {possible} of them possible");
    assert!(possible >= cases / 3, "only {possible} of {cases} requests were possible");
}

/// A number up to `max`: often one at or beside a multiple of a page.
fn place(rng: &mut Rng, max: u64) -> u64 {
    let any = rng.u64(..=max);
    let page = any - any % 4096;
    rng.choice([any, page, page.saturating_sub(1), page + 1, any % 8192]).unwrap().min(max)
}

struct Source {
    file: File,
    bytes: Vec<u8>,
}

struct Case<'a> {
    seed: u64,
    rng: Rng,
    engine: &'a Engine,
    noise: &'a [u8],
    directory: &'a Path,
}

impl Case<'_> {
    fn noise(&mut self, len: u64) -> Vec<u8> {
        let start = self.rng.usize(..self.noise.len() - len as usize);
        self.noise[start..start + len as usize].to_vec()
    }

    /// A file, with a hole or without, open with `O_DIRECT` or without.
    fn file(&mut self) -> Source {
        let len = match self.rng.u8(..16) {
            0 => 0,
            1..=3 => place(&mut self.rng, 9000),
            4 => MAX_FILE_BYTES,
            _ => place(&mut self.rng, 1 << 20),
        };
        let mut bytes = self.noise(len);
        let hole = if self.rng.u8(..4) == 0 { place(&mut self.rng, len) as usize } else { 0 };
        bytes[..hole].fill(0);
        let writer = tempfile::tempfile_in(self.directory).unwrap();
        writer.set_len(len).unwrap();
        writer.write_all_at(&bytes[hole..], hole as u64).unwrap();
        let open = |flags: OFlags| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).custom_flags(flags.bits() as i32).open(path_of(&writer))
        };
        let flags = if self.rng.bool() { OFlags::DIRECT } else { OFlags::empty() };
        // Not every file system takes O_DIRECT.
        let file = open(flags).or_else(|_| open(OFlags::empty())).unwrap();
        Source { file, bytes }
    }

    /// One to three files, a policy, a context, what its sink sees, and how messages begin.
    fn arguments(&mut self) -> (Vec<Source>, Policy, Context, Arc<Seen>, String) {
        let files = (0..self.rng.usize(1..=3)).map(|_| self.file()).collect();
        let policy = match self.rng.u8(..7) {
            0..=1 => Policy::AUTO,
            2 => Policy::REQUIRE_DIRECT,
            _ => Policy::only(self.rng.choice(PathName::ALL).unwrap()),
        };
        let seen = Arc::new(Seen::default());
        let progress = self.rng.bool().then(|| Arc::clone(&seen) as Arc<dyn ProgressSink>);
        let context = Context { progress, ..Context::new(ClientId(1)) };
        (files, policy, context, seen, format!("DMABUF_TEST_SEED={}: by {policy:?}", self.seed))
    }

    /// Ranges of the files that nest, overlap, repeat, touch and lie behind the end, at places of
    /// the buffer that do not overlap; and where the last one ends.
    fn load_segments(&mut self, files: &[Source]) -> (Vec<Segment>, u64) {
        let rng = &mut self.rng;
        let count = rng.choice([1, 1, 2, 5, 40]).unwrap();
        let max = rng.choice([300, 9000, 70_000, 1 << 20, MAX_FILE_BYTES]).unwrap();
        let mut segments: Vec<Segment> = Vec::new();
        let mut reached = 0;
        for _ in 0..count {
            let file_index = rng.usize(..files.len());
            let file_len = files[file_index].bytes.len() as u64;
            let offset = place(rng, file_len);
            let length = Length::Bytes(place(rng, max));
            let previous = segments.last().map(|p| (*p, asked_bytes(p, files)));
            let mut gap = [0, 0, place(rng, 9000)][rng.usize(..3)];
            let (file_index, file_offset_bytes, length) = match (rng.u8(..10), previous) {
                (0, Some((p, _))) => (p.file_index, p.file_offset_bytes, p.length),
                (1, Some((p, len))) => {
                    let inside = place(rng, len);
                    (p.file_index, p.file_offset_bytes + inside, Length::Bytes(len - inside))
                }
                (2, Some((p, len))) => (p.file_index, p.file_offset_bytes + len, length),
                (3, _) => (file_index, offset, Length::ToEnd),
                (4, _) => (file_index, offset, Length::Bytes(0)),
                (5, _) => (file_index, file_len + rng.u64(..9000), length),
                _ => (file_index, offset, length),
            };
            // Often at the place in a page that direct I/O needs.
            if gap > 0 && rng.bool() {
                gap = (4096 + file_offset_bytes % 4096 - reached % 4096) % 4096;
            }
            let buffer_offset_bytes = reached + gap;
            let segment = Segment { file_index, file_offset_bytes, length, buffer_offset_bytes };
            reached = buffer_offset_bytes + asked_bytes(&segment, files);
            segments.push(segment);
        }
        rng.shuffle(&mut segments);
        (segments, reached)
    }

    /// Moves a range into the place of another in the buffer, if there are two that are not empty.
    fn overlap(&mut self, segments: &mut [Segment], files: &[Source]) -> bool {
        let mut filled = (0..segments.len()).filter(|i| asked_bytes(&segments[*i], files) > 0);
        let (Some(first), Some(second)) = (filled.next(), filled.next()) else { return false };
        let place = self.rng.u64(..asked_bytes(&segments[first], files));
        segments[second].buffer_offset_bytes = segments[first].buffer_offset_bytes + place;
        true
    }

    /// Whether the machine has what the policy asks for.
    fn load(&mut self) -> bool {
        let (files, policy, context, seen, what) = self.arguments();
        let (mut segments, mut needed) = self.load_segments(&files);
        let overlap = self.rng.u8(..12) == 0 && self.overlap(&mut segments, &files);
        if overlap {
            let end = |s: &Segment| s.buffer_offset_bytes + asked_bytes(s, &files);
            needed = segments.iter().map(end).max().unwrap_or(0);
        }
        let size_bytes = needed.max(1) + [0, place(&mut self.rng, 9000)][self.rng.usize(..2)];
        let existing = self.rng.bool().then(|| memfd(&vec![BEFORE; size_bytes as usize]));
        let target = match &existing {
            Some(buffer) => Target::Existing(dup(buffer)),
            None => Target::New(NewBuffer { size_bytes, heap: "memfd".into(), name: "".into() }),
        };
        let fds = files.iter().map(|source| dup(&source.file)).collect();
        let mut request = LoadRequest::new(target, fds, segments.clone());
        request.policy = policy;
        request.digests.report_sha256 = self.rng.bool();
        let wants_sha256 = request.digests.report_sha256;
        let is_kept = |buffer: &File| contents(buffer).iter().all(|byte| *byte == BEFORE);
        let outcome = match self.engine.load(request, &context) {
            Err(EngineError::BadArgument { .. }) if overlap => {
                assert!(existing.iter().all(is_kept), "{what}: overlapping places were written");
                return true;
            }
            Ok(_) if overlap => panic!("{what}: places of the buffer overlap in {segments:?}"),
            Err(error) if is_unavailable(&error, policy) => {
                assert!(existing.iter().all(is_kept), "{what}: a refused load wrote its target");
                return false;
            }
            outcome => outcome.unwrap_or_else(|error| panic!("{what}: {error}")),
        };
        let before = if existing.is_some() { BEFORE } else { 0 };
        let buffer = outcome.buffer.map(|buffer| File::from(buffer.fd)).or(existing).unwrap();
        let loaded = contents(&buffer);
        let mut expected = vec![before; loaded.len()];
        let mut in_order = ring::digest::Context::new(&ring::digest::SHA256);
        for (segment, bytes) in segments.iter().zip(&outcome.segment_bytes) {
            let of_file = &files[segment.file_index].bytes;
            let start = of_file.len().min(segment.file_offset_bytes as usize);
            let end = of_file.len().min(start + asked_bytes(segment, &files) as usize);
            assert_eq!(*bytes, (end - start) as u64, "{what}: {segment:?}");
            let to = segment.buffer_offset_bytes as usize;
            expected[to..to + end - start].copy_from_slice(&of_file[start..end]);
            in_order.update(&of_file[start..end]);
        }
        assert_same(&loaded, &expected, &what);
        let sha256 = outcome.sha256.map(|digest| digest.0.to_vec());
        let expected = wants_sha256.then(|| in_order.finish().as_ref().to_vec());
        assert_eq!(sha256, expected, "{what}: digest");
        check(&outcome.report, &outcome.segment_bytes, &context, &seen, &what);
        true
    }

    /// Whether the machine has what the policy asks for.
    fn save(&mut self) -> bool {
        let (mut files, policy, context, seen, what) = self.arguments();
        let size = 1 + place(&mut self.rng, 1 << 20);
        let bytes = self.noise(size);
        let mut reached = vec![0; files.len()];
        let rng = &mut self.rng;
        let mut ranges: Vec<(Segment, u64)> = Vec::new();
        for _ in 0..rng.choice([1, 2, 10]).unwrap() {
            let file_index = rng.usize(..files.len());
            let file_offset_bytes = reached[file_index] + [0, place(rng, 9000)][rng.usize(..2)];
            let buffer_offset_bytes = place(rng, size);
            let left = size - buffer_offset_bytes;
            let len = [left, place(rng, left)][rng.usize(..2)];
            let length = if len == left { Length::ToEnd } else { Length::Bytes(len) };
            reached[file_index] = file_offset_bytes + len;
            let segment = Segment { file_index, file_offset_bytes, length, buffer_offset_bytes };
            ranges.push((segment, len));
        }
        rng.shuffle(&mut ranges);
        let (segments, lengths): (Vec<Segment>, Vec<u64>) = ranges.iter().copied().unzip();
        let fds = files.iter().map(|source| dup(&source.file)).collect();
        let request = SaveRequest { buffer: memfd(&bytes).into(), files: fds, segments, policy };
        let saved = match self.engine.save(request, &context) {
            Err(error) if is_unavailable(&error, policy) => None,
            outcome => Some(outcome.unwrap_or_else(|error| panic!("{what}: {error}"))),
        };
        if let Some(outcome) = &saved {
            assert_eq!(outcome.segment_bytes, lengths, "{what}");
            check(&outcome.report, &lengths, &context, &seen, &what);
            for (segment, len) in ranges.into_iter().filter(|(_, len)| *len > 0) {
                let of_file = &mut files[segment.file_index].bytes;
                let (start, len) = (segment.file_offset_bytes as usize, len as usize);
                of_file.resize(of_file.len().max(start + len), 0);
                let from = segment.buffer_offset_bytes as usize;
                of_file[start..start + len].copy_from_slice(&bytes[from..from + len]);
            }
        }
        for Source { file, bytes } in &files {
            assert_same(&contents(file), bytes, &what);
        }
        saved.is_some()
    }
}

type Seen = Mutex<Vec<Progress>>;

impl ProgressSink for Seen {
    fn on_progress(&self, progress: Progress) {
        self.lock().unwrap().push(progress);
    }
}

/// Whether a policy asks for what this machine does not have.
fn is_unavailable(error: &EngineError, policy: Policy) -> bool {
    use EngineError::{DirectIoUnavailable, PathUnavailable};
    policy != Policy::AUTO && matches!(error, DirectIoUnavailable { .. } | PathUnavailable { .. })
}

fn memfd(bytes: &[u8]) -> File {
    let memfd = create_sealed(c"model", bytes.len() as u64).map(File::from).unwrap();
    memfd.write_all_at(bytes, 0).unwrap();
    memfd
}

fn dup(file: &File) -> OwnedFd {
    file.try_clone().unwrap().into()
}

fn asked_bytes(segment: &Segment, files: &[Source]) -> u64 {
    let file_len = files[segment.file_index].bytes.len() as u64;
    match segment.length {
        Length::Bytes(bytes) => bytes,
        Length::ToEnd => file_len.saturating_sub(segment.file_offset_bytes),
    }
}

fn path_of(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn contents(file: &File) -> Vec<u8> {
    std::fs::read(path_of(file)).unwrap()
}

fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let differs = || found.iter().zip(expected).position(|(a, b)| a != b);
    assert!(found == expected, "{what}: byte {:?} of {} differs", differs(), found.len());
}

/// The report and the progress account for every byte.
fn check(report: &Report, moved: &[u64], context: &Context, seen: &Seen, what: &str) {
    let sum: u64 = moved.iter().sum();
    assert_eq!(report.direct_bytes() + report.buffered_bytes(), sum, "{what}: report");
    let seen = seen.lock().unwrap();
    if context.progress.is_some() && sum > 0 {
        assert!(seen.is_sorted_by(|a, b| a.moved_bytes < b.moved_bytes), "{what}: {seen:?}");
        let end = Progress { moved_bytes: sum, total_bytes: sum };
        assert_eq!(seen.last(), Some(&end), "{what}: progress");
    }
}
