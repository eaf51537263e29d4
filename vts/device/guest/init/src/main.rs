// SPDX-License-Identifier: Apache-2.0
//! First process of the virtual device.
//!
//! One program in three roles, as on Android:
//! - started by the kernel from the initial RAM disk, it mounts the system image, loads the
//!   SELinux policy, enforces it, and executes the copy of itself on the system image;
//! - as `init second_stage`, in the domain `init`, it sets the device up, starts the services of
//!   the .rc files and runs the [test plan](vts_init::plan);
//! - as `init --exec SPEC -- PROGRAM...` it becomes a service or a step.
//!
//! # Threading and lifetime The main thread alone acts, as [`supervisor`] and [`run_steps`]. The
//! other threads only wait for children, the kernel log and the output of programs, and tell it by
//! the queue of [`message`]. All of them live until the device powers off.

mod boot;
mod devices;
mod first_stage;
mod kernel_file;
mod kernel_log;
mod label;
mod launch;
mod log;
mod message;
mod mounts;
mod output;
mod port;
mod power;
mod push;
mod reaper;
mod run_steps;
mod selinux;
mod supervisor;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    if let ["--exec", spec, "--", program, ref rest @ ..] = words[..] {
        let error = launch::become_program(spec, program, rest);
        eprintln!("init: cannot run {program}: {error:#}");
        return ExitCode::from(launch::EXEC_FAILED);
    }
    if std::process::id() != 1 {
        eprintln!("init: runs as the first process of the virtual device only");
        return ExitCode::FAILURE;
    }
    std::panic::set_hook(Box::new(|info| power::fatal(&format!("panic: {info}"))));
    let error = match words[..] {
        ["second_stage"] => match boot::run() {
            Ok(()) => power::off(),
            Err(error) => error,
        },
        _ => first_stage::run(),
    };
    power::fatal(&format!("{error:#}"))
}
