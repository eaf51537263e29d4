// SPDX-License-Identifier: Apache-2.0
//! VtsDmaBufLoaderBenchmark: measures the cost of every method that fills a dma-buf from a file,
//! and of saving one.
//!
//! Runs as root. Files are made in `$DMABUF_TEST_DIR`, by default `/data/vendor/dmabuf_loader`,
//! which should be on the file system that holds the models on a device (F2FS). Standard output
//! carries one JSON object per line, documented in `vts_bench_record`; standard error names the
//! current measurement.
//!
//! `vts/bench/README.md` describes the measurements.

// The target is named after the VTS module, as Soong names it.
#![allow(non_snake_case)]

mod allocation;
mod arguments;
mod bench;
mod binder_calls;
mod buffer;
mod call_tree;
mod engine_paths;
mod live_buffers;
mod loads_at_once;
mod meter;
mod outcome;
mod raw_device;
mod seed;
mod service_paths;
mod source;
mod system_time;
mod trace_text;
mod tuning;
mod warm_pool;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::arguments::{Arguments, Group};
use crate::bench::Bench;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns true if no supported measurement failed.
fn run(arguments: &Arguments) -> Result<bool> {
    let mut bench = Bench::new(arguments)?;
    for repetition in 0..arguments.repetitions {
        bench.begin_repetition(repetition);
        for group in arguments.groups() {
            match group {
                Group::Raw => raw_device::run(&mut bench)?,
                Group::Allocation => allocation::run(&mut bench)?,
                Group::FileSizes => live_buffers::run_file_sizes(&mut bench)?,
                Group::Load => seed::load::run(&mut bench)?,
                Group::Save => seed::save::run(&mut bench)?,
                Group::Engine => {
                    engine_paths::run(&mut bench)?;
                    loads_at_once::run(&mut bench)?;
                }
                Group::Pool => warm_pool::run(&mut bench)?,
                Group::Service => {
                    service_paths::run(&mut bench)?;
                    loads_at_once::run_service(&mut bench)?;
                }
                Group::Calls => binder_calls::run(&mut bench)?,
                Group::CallTree => call_tree::run(&mut bench)?,
                Group::LiveBuffers => live_buffers::run(&mut bench)?,
            }
        }
    }
    bench.finish()
}
