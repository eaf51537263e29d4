// SPDX-License-Identifier: Apache-2.0
//! The ways out: power off, always.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::system::{reboot, RebootCommand};
use vts_init::report::Event;

use crate::{log, port};

/// Writes back what is dirty and powers off.
pub fn off() -> ! {
    rustix::fs::sync();
    // Without ACPI the kernel would halt; a restart ends an emulator that was told not to reboot.
    let acpi = Path::new("/sys/firmware/acpi").exists();
    let command = if acpi { RebootCommand::PowerOff } else { RebootCommand::Restart };
    if let Err(error) = reboot(command) {
        log::error(&format!("cannot power off: {error}"));
    }
    loop {
        std::thread::park();
    }
}

/// Says why the device cannot go on, on the console and in the report, and powers off.
pub fn fatal(message: &str) -> ! {
    static FAILED: AtomicBool = AtomicBool::new(false);
    if !FAILED.swap(true, Ordering::SeqCst) {
        log::error(&format!("FATAL: {message}"));
        let sent =
            port::open().and_then(|_| port::send(&Event::Fatal { message: message.to_owned() }));
        if let Err(error) = sent {
            log::error(&format!("cannot report this: {error:#}"));
        }
    }
    off()
}
