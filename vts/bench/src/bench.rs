// SPDX-License-Identifier: Apache-2.0
//! The benchmark: the state that its measurements share, and its output of records.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};
use dmabuf_engine::{Engine, EngineConfig, PoolConfig};
use dmabuf_loader_client::Loader;
pub use vts_bench_record::Case;
use vts_bench_record::{CallTree, Machine, Measurement, Outcome, Phases, Record};
use vts_support::files::Files;

use crate::arguments::Arguments;
use crate::buffer::Devices;
use crate::meter::Meter;
use crate::source::Source;
use crate::{outcome, tuning};

const SERVICE_PROGRAM: &[u8] = b"/vendor/bin/hw/vendor.dmabuf.loader-service\0";

/// The state that measurements share.
pub struct Setup {
    /// Measures the cost of a phase.
    pub meter: Meter,
    /// The directory of the files.
    pub files: Files,
    /// The file to load: as large as all buffers together.
    pub source: Source,
    /// The device nodes that allocate buffers.
    pub devices: Devices,
    /// The engine in this process, without a pool: one for all repetitions, as a service has one
    /// for its life, so that it keeps its bounce memory.
    pub engine: Arc<Engine>,
    /// The service, or the reason why it is unavailable.
    pub loader: Result<Loader, String>,
    /// Buffers per measurement.
    pub buffers: u32,
    /// Size of a buffer.
    pub buffer_bytes: u64,
    /// The largest file that a measurement makes.
    pub largest_file_bytes: u64,
}

impl Setup {
    /// Returns the bytes of all buffers of a measurement.
    pub fn total_bytes(&self) -> u64 {
        u64::from(self.buffers) * self.buffer_bytes
    }
}

/// The benchmark.
pub struct Bench {
    /// The state that measurements share.
    pub setup: Setup,
    methods: Vec<String>,
    repetition: u32,
    measurements: u64,
    failures: u64,
}

impl Bench {
    /// Makes the file, connects to the service, and writes the record of the machine.
    pub fn new(arguments: &Arguments) -> Result<Self> {
        let loader = Loader::check("default").map_err(|error| error.to_string());
        let service = loader.as_ref().ok().and_then(|_| service_pid());
        let files = Files::new()?;
        let (buffers, buffer_bytes) = (arguments.buffers, arguments.buffer_bytes());
        eprintln!("making a file of {buffers} x {} MiB", buffer_bytes >> 20);
        let source = Source::create(&files, "source", u64::from(buffers) * buffer_bytes)?;
        let setup = Setup {
            meter: Meter::new(service)?,
            files,
            source,
            devices: Devices::open()?,
            engine: Arc::new(Engine::new(EngineConfig::new(false, PoolConfig::OFF))),
            loader,
            buffers,
            buffer_bytes,
            largest_file_bytes: arguments.largest_file_mib << 20,
        };
        write(&Record::Machine(machine(arguments, setup.meter.has_system_time())))?;
        let methods = arguments.methods.clone();
        Ok(Self { setup, methods, repetition: 0, measurements: 0, failures: 0 })
    }

    /// Starts another repetition.
    pub fn begin_repetition(&mut self, repetition: u32) {
        self.repetition = repetition;
    }

    /// Whether this is the first repetition.
    pub fn is_first_repetition(&self) -> bool {
        self.repetition == 0
    }

    /// Whether the command line selects a method.
    pub fn wants(&self, method: &str) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|wanted| wanted == method)
    }

    /// Makes one measurement and writes its record. Before that, empties the page cache and the
    /// per-processor lists of free pages.
    pub fn measure(
        &mut self,
        case: Case,
        work: impl FnOnce(&Setup) -> Result<Phases>,
    ) -> Result<()> {
        if !self.wants(&case.method) {
            return Ok(());
        }
        eprintln!("{:?} {:?} {}", case.kind, case.direction, case.method);
        tuning::drop_page_cache()?;
        tuning::drain_page_lists()?;
        let outcome = outcome::of(work(&self.setup));
        if let Outcome::Failed { reason } = &outcome {
            eprintln!("FAILED: {}: {reason}", case.method);
            self.failures += 1;
        }
        self.measurements += 1;
        write(&Record::Measurement(Measurement { case, repetition: self.repetition, outcome }))
    }

    /// Traces a method of the public series, if the kernel supports it, and writes the tree.
    pub fn trace(
        &mut self,
        method: &str,
        work: impl FnOnce(&Setup) -> Result<CallTree>,
    ) -> Result<()> {
        if !self.wants(method) {
            return Ok(());
        }
        eprintln!("call tree of {method}");
        tuning::drop_page_cache()?;
        match work(&self.setup) {
            Ok(tree) => write(&Record::CallTree { method: method.to_owned(), tree }),
            Err(error) => {
                if outcome::is_failure(&error) {
                    self.failures += 1;
                }
                eprintln!("no call tree of {method}: {error:#}");
                Ok(())
            }
        }
    }

    /// Writes the last record; returns true if nothing failed.
    pub fn finish(self) -> Result<bool> {
        write(&Record::End { measurements: self.measurements })?;
        Ok(self.failures == 0)
    }
}

fn write(record: &Record) -> Result<()> {
    let line = record.to_line()?;
    writeln!(std::io::stdout().lock(), "{line}").context("standard output")
}

fn machine(arguments: &Arguments, system_time: bool) -> Machine {
    let cpus = std::thread::available_parallelism().map_or(1, |count| count.get());
    Machine {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        memory_bytes: dmabuf_uapi::memory::total_bytes(),
        page_bytes: dmabuf_uapi::page_size_bytes() as u64,
        buffers: arguments.buffers,
        buffer_bytes: arguments.buffer_bytes(),
        repetitions: arguments.repetitions,
        system_time,
    }
}

/// Finds the process of the service.
fn service_pid() -> Option<u32> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter(|entry| {
            std::fs::read(entry.path().join("cmdline"))
                .is_ok_and(|line| line.starts_with(SERVICE_PROGRAM))
        })
        .find_map(|entry| entry.file_name().to_str()?.parse().ok())
}
