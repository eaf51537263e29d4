// SPDX-License-Identifier: Apache-2.0
//! VtsHalDmaBufLoaderTargetTest: tests of the loader HAL as its clients call it.
//!
//! Every test runs once for each instance that the VINTF manifest declares. Files are made in
//! `$DMABUF_TEST_DIR`, by default `/data/vendor/dmabuf_loader`, which should be on the file system
//! that holds the models on a device (F2FS). A test that cannot run prints `SKIPPED: reason`.

// The target is named after the VTS module, as Soong names it.
#![allow(non_snake_case)]

mod allocation;
mod arguments;
mod buffer;
mod client;
mod digest;
mod dump;
mod environment;
mod fast_path;
mod heaps;
mod huge_pages;
mod leaks;
mod load;
mod paths;
mod policy;
mod save;
mod scatter;
mod tasks;
mod verity;
mod wrong_fds;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use client::Client;

const INTERFACE: &str = "vendor.dmabuf.loader.IDmaBufLoader";

fn main() -> ExitCode {
    // A VTS runner adds libtest options that only the unstable libtest knows.
    let options = std::env::args()
        .filter(|option| option != "-Zunstable-options" && option != "--report-time");
    let mut arguments = Arguments::from_iter(options);
    // Tests measure free memory and the page cache, and some need most of the memory of a small
    // device.
    arguments.test_threads = arguments.test_threads.or(Some(1));
    binder::ProcessState::start_thread_pool();
    let trials = match binder::get_declared_instances(INTERFACE) {
        Ok(instances) => instances.iter().flat_map(|instance| trials(instance)).collect(),
        Err(status) => {
            eprintln!("cannot list the declared instances of {INTERFACE}: {status:?}");
            return ExitCode::FAILURE;
        }
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The tests of one instance.
fn trials(instance: &str) -> Vec<Trial> {
    let topics: [(&str, &[client::NamedTest]); 17] = [
        ("environment", environment::TESTS),
        ("heaps", heaps::TESTS),
        ("allocation", allocation::TESTS),
        ("huge_pages", huge_pages::TESTS),
        ("load", load::TESTS),
        ("scatter", scatter::TESTS),
        ("save", save::TESTS),
        ("fast_path", fast_path::TESTS),
        ("paths", paths::TESTS),
        ("policy", policy::TESTS),
        ("digest", digest::TESTS),
        ("verity", verity::TESTS),
        ("arguments", arguments::TESTS),
        ("wrong_fds", wrong_fds::TESTS),
        ("leaks", leaks::TESTS),
        ("dump", dump::TESTS),
        ("tasks", tasks::TESTS),
    ];
    topics
        .into_iter()
        .flat_map(|(topic, tests)| tests.iter().map(move |test| (topic, *test)))
        .map(|(topic, (name, test))| {
            let instance = instance.to_owned();
            vts_support::outcome::trial(topic, &format!("{name}/{instance}"), move || {
                test(&Client::connect(&instance)?)
            })
        })
        .collect()
}
