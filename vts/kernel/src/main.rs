// SPDX-License-Identifier: Apache-2.0
//! VtsKernelDmaBufCopyFileRangeTest: tests of `copy_file_range(2)` between files and dma-bufs on a
//! device.
//!
//! Runs as root. Files are made in `$DMABUF_TEST_DIR`, by default `/data/vendor/dmabuf_loader`,
//! which should be on the file system that holds the models on a device (F2FS).
//!
//! On a kernel without the support, the tests of the support are skipped and those of ordinary
//! files still run. With `DMABUF_TEST_REQUIRE_KERNEL_SUPPORT=1` the skipped tests fail instead.

// The target is named after the VTS module, as Soong would name it.
#![allow(non_snake_case)]

mod basics;
mod buffer;
mod buffered;
mod busy;
mod direct;
mod fault_injection;
mod fences;
mod file_kinds;
mod helper;
mod kprobe;
mod offsets;
mod ordinary_files;
mod outcome;
mod parallel;
mod reclaim;
mod rlimit;
mod save;
mod signal;
mod slow_load;
mod tail;
mod udmabuf_layouts;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(helper::FLAG) {
        return helper::main(arguments);
    }

    let mut arguments = Arguments::from_args();
    // Tests measure free memory and the page cache, and some need most of the memory of a small
    // device.
    arguments.test_threads = arguments.test_threads.or(Some(1));

    let trials = [
        basics::trials(),
        buffered::trials(),
        busy::trials(),
        direct::trials(),
        fault_injection::trials(),
        fences::trials(),
        file_kinds::trials(),
        offsets::trials(),
        ordinary_files::trials(),
        parallel::trials(),
        reclaim::trials(),
        rlimit::trials(),
        save::trials(),
        signal::trials(),
        tail::trials(),
        udmabuf_layouts::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}
