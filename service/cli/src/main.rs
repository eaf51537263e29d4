// SPDX-License-Identifier: Apache-2.0
//! `dmabufload`: load files into dma-bufs from a shell.
//!
//! On a device it talks to the loader service over binder. Elsewhere it starts the same service
//! embedded, behind a unix socket in a private directory, and talks to it as any client would.
//!
//! Exit status: 0 done, 1 the request failed, 2 the command line is wrong, 130 interrupted.

mod args;
mod bench;
mod buffer;
#[cfg(not(any(soong, target_os = "android")))]
mod completion;
mod connect;
mod examples;
mod heaps;
mod hex;
mod interrupt;
mod load;
mod load_plan;
mod load_tensors;
mod output;
mod progress;
mod save;
mod segment;
mod stats;
mod target_file;
mod task;
mod tensors;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use dmabuf_uapi::signals::ignore_file_size_limit;

use args::{Args, Command};
use interrupt::{Interrupt, Interrupted};

fn main() -> ExitCode {
    let args = Args::parse();
    start_log(args.verbose);
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dmabufload: {error:#}");
            if error.downcast_ref::<Interrupted>().is_some() {
                return ExitCode::from(interrupt::EXIT_STATUS);
            }
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    // The embedded service reports a save past the limit as an error.
    ignore_file_size_limit().context("SIGXFSZ")?;
    // Before any other thread starts.
    let interrupt = Interrupt::watch().context("SIGINT and SIGTERM")?;
    let ended = match &args.command {
        Command::Heaps(heaps) => heaps::run(&args.service, &interrupt, heaps),
        Command::Load(load) => load::run(&args.service, &interrupt, load),
        Command::Save(save) => save::run(&args.service, &interrupt, save),
        Command::Stats => stats::stats(&args.service, &interrupt),
        Command::Watch(watch) => stats::watch(&args.service, &interrupt, watch),
        Command::Bench(bench) => bench::run(&args.service, &interrupt, bench),
        #[cfg(not(any(soong, target_os = "android")))]
        Command::Completion(completion) => completion::run(completion),
    };
    interrupt.give_way();
    ended
}

#[cfg(any(soong, target_os = "android"))]
fn start_log(verbose: bool) {
    let level = if verbose { log::LevelFilter::Debug } else { log::LevelFilter::Warn };
    let config = android_logger::Config::default().with_tag("dmabufload").with_max_level(level);
    android_logger::init_once(config);
}

#[cfg(not(any(soong, target_os = "android")))]
fn start_log(verbose: bool) {
    // main prints errors once; the log of the embedded service is only for --verbose.
    let level = if verbose { log::LevelFilter::Debug } else { log::LevelFilter::Off };
    env_logger::Builder::new().filter_level(level).parse_default_env().init();
}
