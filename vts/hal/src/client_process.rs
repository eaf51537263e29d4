// SPDX-License-Identifier: Apache-2.0
//! Processes of this program that do nothing but requests, of one kind each, until they are killed.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{bail, ensure, Context, Result};
use dmabuf_loader_client::aidl::{
    NewBuffer::NewBuffer, RequestPriority::RequestPriority, Segment::Segment,
};
use dmabuf_loader_client::{LoadSpec, SaveSpec};
use vts_support::files::Mode;
use vts_support::pattern;

use crate::buffer::{fd, View};
use crate::client::{new_buffer, Client};
use crate::tasks::ignoring_callback;

/// What a client process does: in its environment.
const ROLE: &str = "DMABUF_TEST_CLIENT";
/// The instance that it calls.
const INSTANCE: &str = "DMABUF_TEST_INSTANCE";

/// What a client process does, again and again. Its standard input is the file that it loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role<'a> {
    /// A blocking load, two started ones with callbacks, one of them dropped, and a save to this
    /// file.
    Mixed(&'a Path),
    /// A blocking load of the whole file.
    Whole,
    /// Loads of parts of many sizes of a file of this many bytes, patterned by this seed, whose
    /// bytes are compared.
    Parts(u64, u64),
    /// Loads of one byte into new buffers of this size, of each heap. All other bytes must be zero.
    OneByte(u64),
}

impl Role<'_> {
    fn to_text(self) -> String {
        match self {
            Self::Mixed(path) => format!("mixed {}", path.display()),
            Self::Whole => "whole".to_owned(),
            Self::Parts(size_bytes, seed) => format!("parts {size_bytes} {seed}"),
            Self::OneByte(size_bytes) => format!("one-byte {size_bytes}"),
        }
    }
}

/// Runs the requests of a client process; `None` where this process is not one.
pub fn run_as_client() -> Option<Result<()>> {
    let role = std::env::var(ROLE).ok()?;
    Some(run(&role))
}

fn run(role: &str) -> Result<()> {
    let client = Client::connect(&std::env::var(INSTANCE).context(INSTANCE)?)?;
    let words: Vec<&str> = role.split(' ').collect();
    // Whoever started it begins to count.
    println!("ready");
    match words[..] {
        ["mixed", path] => mixed(&client, path.as_ref()),
        ["whole"] => loop {
            client.load(whole()?)?;
        },
        ["parts", size_bytes, seed] => parts(&client, size_bytes.parse()?, seed.parse()?),
        ["one-byte", size_bytes] => one_byte(&client, size_bytes.parse()?),
        _ => bail!("{role:?} is not known"),
    }
}

fn whole() -> Result<LoadSpec> {
    Ok(LoadSpec::whole_file(std::io::stdin().as_fd())?)
}

fn mixed(client: &Client, output: &Path) -> Result<()> {
    let callback = ignoring_callback();
    loop {
        let held = client.load(whole()?)?.buffer.context("no buffer")?;
        let started = client.loader.start_load(whole()?, Some(&callback))?;
        let urgent = whole()?.priority(RequestPriority::LATENCY_CRITICAL).report_sha256();
        let dropped = client.loader.start_load(urgent, Some(&callback))?;
        let output = Mode::Direct.open_output(output)?;
        client.loader.save(SaveSpec::from_buffer(fd(&held)?)?.file(&output)?)?;
        started.finish()?;
        drop(dropped);
    }
}

fn parts(client: &Client, size_bytes: u64, seed: u64) -> Result<()> {
    const ENDS_BYTES: u64 = 64;
    let mut random = fastrand::Rng::with_seed(u64::from(std::process::id()));
    loop {
        // Every order of magnitude is as frequent.
        let len_bytes = random.u64(ENDS_BYTES..size_bytes) >> random.u32(0..12);
        let len_bytes = len_bytes.max(ENDS_BYTES);
        let offset_bytes = random.u64(0..=size_bytes - len_bytes) & !4095;
        let segment = Segment {
            fileOffsetBytes: offset_bytes as i64,
            lengthBytes: len_bytes as i64,
            ..Segment::default()
        };
        let spec = LoadSpec::default().file(std::io::stdin().as_fd())?.segment(segment);
        let buffer = client.load(spec)?.buffer.context("no buffer")?;
        let view = View::new(&buffer)?;
        for start in [0, len_bytes - ENDS_BYTES] {
            let expected = pattern::bytes(seed, offset_bytes + start, ENDS_BYTES as usize);
            let seen = view.bytes(start, ENDS_BYTES as usize)?;
            ensure!(seen == expected, "wrong bytes at {start} of {len_bytes} from {offset_bytes}");
        }
    }
}

fn one_byte(client: &Client, size_bytes: u64) -> Result<()> {
    let heaps = client.heaps()?;
    loop {
        for heap in &heaps {
            let new = NewBuffer { sizeBytes: size_bytes as i64, ..new_buffer(&heap.name) };
            let spec = LoadSpec::default()
                .file(std::io::stdin().as_fd())?
                .segment(Segment { lengthBytes: 1, ..Segment::default() });
            let buffer = client.load(spec.into_new(new))?.buffer.context("no buffer")?;
            View::new(&buffer)?.expect_zero_from(1)?;
        }
    }
}

/// A client process; dropping it kills it.
pub struct ClientProcess(Child);

impl ClientProcess {
    /// Starts a client process, as this uid if one is given, and waits until it has begun.
    pub fn start(client: &Client, role: Role<'_>, file: File, uid: Option<u32>) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env(ROLE, role.to_text()).env(INSTANCE, &client.instance).stdin(file);
        if let Some(uid) = uid {
            command.uid(uid).gid(uid);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().context("a client process")?;
        let mut ready = [0; 6];
        let read = child.stdout.as_mut().context("no output")?.read_exact(&mut ready);
        let mut process = Self(child);
        read.with_context(|| format!("the client process has ended: {:?}", process.0.try_wait()))?;
        ensure!(&ready == b"ready\n", "{ready:?}");
        Ok(process)
    }

    /// Fails if it has ended, which a request that failed makes it do.
    pub fn expect_running(&mut self) -> Result<()> {
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("a client process has ended: {status}"),
        }
    }
}

impl Drop for ClientProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
