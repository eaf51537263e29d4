// SPDX-License-Identifier: Apache-2.0
//! VtsDmaBufEngineTest: tests of engine behaviour that no client of the service can see, on the
//! heaps and file systems of a device.
//!
//! Runs as root. Files are made in `$DMABUF_TEST_DIR`, by default `/data/vendor/dmabuf_loader`; the
//! test of random loads also uses each directory of `$DMABUF_TEST_MORE_DIRS`, separated by colons,
//! to cover other file systems.

// The target is named after the module, as Soong would name it.
#![allow(non_snake_case)]

mod changing_files;
mod errors;
mod fd_kinds;
mod fences;
mod file_kinds;
mod heaps;
mod importer;
mod kind_files;
mod load;
mod memory;
mod pool;
mod random;
mod random_numbers;
mod requests;
mod verity;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Tests measure the free memory of each kind.
    arguments.test_threads = arguments.test_threads.or(Some(1));
    let trials = [
        changing_files::trials(),
        errors::trials(),
        fd_kinds::trials(),
        fences::trials(),
        file_kinds::trials(),
        heaps::trials(),
        importer::trials(),
        memory::trials(),
        pool::trials(),
        random::trials(),
        requests::trials(),
        verity::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}
