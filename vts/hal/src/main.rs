// SPDX-License-Identifier: Apache-2.0
//! VtsHalDmaBufLoaderTargetTest: tests of the loader HAL as its clients call it.
//!
//! Every test runs once for each instance that the VINTF manifest declares. Files are made in a
//! directory that the module makes and removes: in `$DMABUF_TEST_DIR`, by default in
//! `/data/vendor/dmabuf_loader` if the device has that, else beside the module's binary. It should
//! be on the file system that holds the models on a device. A test that cannot run prints `SKIPPED:
//! reason`.

// The target is named after the VTS module, as Soong names it.
#![allow(non_snake_case)]

mod allocation;
mod arguments;
mod buffer;
mod client;
mod client_death;
mod client_process;
mod digest;
mod dump;
mod environment;
mod fast_path;
mod heaps;
mod hostile_buffers;
mod hostile_fds;
mod hostile_fences;
mod hostile_files;
mod hostile_memory;
mod huge_pages;
mod importer;
mod leaks;
mod load;
mod paths;
mod policy;
mod priority;
mod save;
mod scatter;
mod service_state;
mod task_states;
mod tasks;
mod uids;
mod verity;
mod virtual_device;
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
    if let Some(ended) = client_process::run_as_client() {
        eprintln!("a client process has ended: {ended:?}");
        return ExitCode::FAILURE;
    }
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
    let mut topics: Vec<(&str, &[client::NamedTest])> = vec![
        ("environment", environment::TESTS),
        ("heaps", heaps::TESTS),
        ("allocation", allocation::TESTS),
        ("huge_pages", huge_pages::TESTS),
        ("importer", importer::TESTS),
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
        ("hostile_buffers", hostile_buffers::TESTS),
        ("hostile_fds", hostile_fds::TESTS),
        ("hostile_fences", hostile_fences::TESTS),
        ("hostile_files", hostile_files::TESTS),
        ("hostile_memory", hostile_memory::TESTS),
        ("leaks", leaks::TESTS),
        ("service_state", service_state::TESTS),
        ("dump", dump::TESTS),
        ("tasks", tasks::TESTS),
        ("task_states", task_states::TESTS),
        ("client_death", client_death::TESTS),
        ("uids", uids::TESTS),
        ("priority", priority::TESTS),
    ];
    if virtual_device::is_selected() {
        topics.push(("virtual_device", virtual_device::TESTS));
    }
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
