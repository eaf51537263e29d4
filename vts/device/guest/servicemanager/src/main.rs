// SPDX-License-Identifier: Apache-2.0
//! Service manager of the virtual device: the context manager of /dev/binder.
//!
//! It speaks `android.os.IServiceManager` and decides as Android's does: every request is checked
//! against the SELinux policy, and a VINTF-stable binder must be declared in a VINTF manifest.
//!
//! # Threading and lifetime
//! One thread handles requests and deaths, one after the other. An entry lives until its process
//! dies or another one takes its name; contexts and manifests are read once, at start.

mod access;
mod contexts;
mod registry;
mod service;
mod vintf;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{anyhow, Context, Result};
use rsbinder::hub::android_16::BnServiceManager;
use rsbinder::{Interface, ProcessState};

use access::Access;
use service::ServiceManager;

const BINDER_DEVICE: &str = "/dev/binder";

fn main() -> ExitCode {
    env_logger::Builder::new().filter_level(log::LevelFilter::Warn).format_timestamp(None).init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let contexts = contexts::load().context("reading service_contexts")?;
    let declarations = vintf::load().context("reading VINTF manifests")?;
    let access = Access::open().context("preparing SELinux checks")?;
    // No pool: one thread, as Android's, so requests are handled one after the other.
    let process = ProcessState::init(BINDER_DEVICE, 0).map_err(|e| anyhow!("{e}"))?;
    let manager = ServiceManager::new(Arc::new(access), contexts, declarations);
    let binder = BnServiceManager::new_binder(manager);
    process
        .become_context_manager(binder.as_binder())
        .map_err(|e| anyhow!("becoming the context manager of {BINDER_DEVICE}: {e}"))?;
    // Init waits for this line.
    println!("setprop servicemanager.ready true");
    ProcessState::join_thread_pool().context("serving")
}
