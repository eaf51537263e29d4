// SPDX-License-Identifier: Apache-2.0
//! Records where the kernel spends its time under `read(2)` and `copy_file_range(2)`: the call
//! trees that the author of the public series published for his phone, here from the kernel's
//! function graph tracer.
//!
//! Only a few functions are traced, those that his profile names and their neighbours, because
//! tracing adds about the cost of a call to each.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use vts_bench_record::CallTree;

use crate::bench::{Bench, Setup};
use crate::buffer::Buffer;
use crate::outcome::not_possible;
use crate::seed::load::{load_all, METHODS};
use crate::seed::Method;
use crate::trace_text;
use vts_support::files::Mode;

const TRACING: &str = "/sys/kernel/tracing";

/// The functions to trace. The tracer rejects those that this kernel has inlined or lacks.
const FUNCTIONS: [&str; 26] = [
    "__x64_sys_pread64",
    "__x64_sys_copy_file_range",
    "vfs_copy_file_range",
    "dma_buf_copy_file_range",
    "f2fs_file_read_iter",
    "__iomap_dio_rw",
    "iomap_iter",
    "iomap_dio_bio_iter",
    "iomap_dio_submit_bio",
    "iomap_dio_complete",
    "bio_iov_iter_get_pages",
    "bio_release_pages",
    "__bio_release_pages",
    "bio_set_pages_dirty",
    "pin_user_pages_fast",
    "gup_fast_fallback",
    "internal_get_user_pages_fast",
    "__gup_longterm_locked",
    "__get_user_pages",
    "faultin_page",
    "handle_mm_fault",
    "submit_bio",
    "submit_bio_noacct",
    "blk_mq_submit_bio",
    "blk_finish_plug",
    "io_schedule",
];

/// Size of the trace buffer, enough for the events of one buffer.
const TRACE_BUFFER_KIB: &str = "65536";

/// The rows of the read table whose trees were published.
const ROWS: [u32; 2] = [12, 22];

/// Records the trees.
pub fn run(bench: &mut Bench) -> Result<()> {
    for method in METHODS.into_iter().filter(|method| ROWS.contains(&method.row)) {
        bench.trace(method.name, |setup| trace(setup, method))?;
    }
    Ok(())
}

/// Loads one buffer with the tracer enabled.
fn trace(setup: &Setup, method: Method) -> Result<CallTree> {
    let file = setup.source.open(Mode::Direct)?;
    // The first load warms up what the kernel allocates once; without the tracer, it is the
    // reference for the cost of tracing.
    let (_, untraced) = setup.meter.measure(|| one_load(setup, method, &file))?;
    let (buffer, untraced_again) = setup.meter.measure(|| one_load(setup, method, &file))?;
    drop(buffer);
    let tracer = Tracer::start()?;
    let (buffer, traced) = setup.meter.measure(|| one_load(setup, method, &file))?;
    let text = tracer.stop()?;
    setup.source.verify(buffer.shared_fd()?, buffer.size_bytes, 0)?;
    let nodes = trace_text::tree(&text);
    anyhow::ensure!(!nodes.is_empty(), "the tracer recorded no calls");
    Ok(CallTree {
        bytes: buffer.size_bytes,
        untraced_ns: untraced.process_ns.min(untraced_again.process_ns),
        traced_ns: traced.process_ns,
        nodes,
    })
}

fn one_load(setup: &Setup, method: Method, file: &fs::File) -> Result<Buffer> {
    let buffer = setup.devices.create(method.exporter, setup.buffer_bytes)?;
    load_all(method.call, file, std::slice::from_ref(&buffer))?;
    Ok(buffer)
}

/// The function graph tracer, enabled for this thread until it is stopped or dropped.
struct Tracer(());

impl Tracer {
    fn start() -> Result<Self> {
        write("tracing_on", "0").map_err(|error| not_possible(format!("{error:#}")))?;
        let tracer = Self(());
        write("current_tracer", "nop")?;
        write("set_ftrace_filter", "")?;
        let mut known = 0;
        for function in FUNCTIONS {
            known += usize::from(append("set_ftrace_filter", function).is_ok());
        }
        anyhow::ensure!(known > 0, "the kernel can trace none of the functions");
        write("set_ftrace_pid", &std::process::id().to_string())?;
        write("buffer_size_kb", TRACE_BUFFER_KIB)?;
        for (option, value) in
            [("funcgraph-irqs", "0"), ("funcgraph-tail", "1"), ("sleep-time", "0")]
        {
            // The parser does not depend on options that a kernel lacks.
            let _ = write(&format!("options/{option}"), value);
        }
        write("current_tracer", "function_graph")
            .map_err(|error| not_possible(format!("{error:#}")))?;
        write("trace", "")?;
        write("tracing_on", "1")?;
        Ok(tracer)
    }

    fn stop(self) -> Result<String> {
        write("tracing_on", "0")?;
        fs::read_to_string(path("trace")).context("reading the trace")
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        for (file, value) in [
            ("tracing_on", "0"),
            ("current_tracer", "nop"),
            ("set_ftrace_filter", ""),
            ("set_ftrace_pid", ""),
            ("buffer_size_kb", "1"),
        ] {
            let _ = write(file, value);
        }
    }
}

fn path(file: &str) -> PathBuf {
    PathBuf::from(TRACING).join(file)
}

fn write(file: &str, text: &str) -> Result<()> {
    fs::write(path(file), text).with_context(|| format!("{TRACING}/{file}"))
}

fn append(file: &str, text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().append(true).open(path(file))?;
    Ok(file.write_all(text.as_bytes())?)
}
