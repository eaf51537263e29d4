// SPDX-License-Identifier: Apache-2.0
//! Events of the report as text for people.

use vts_init::report::{Event, Stream};

/// How a process ended, as the end of a sentence.
pub fn ending(code: Option<i32>, signal: Option<i32>) -> String {
    match (code, signal) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended in an unknown way".into(),
    }
}

/// The event as text for people.
pub fn describe(event: &Event) -> String {
    match event {
        Event::Boot { kernel, enforcing, context, uptime_ms, denials } => {
            let denials: String = denials.iter().map(|denial| format!("\n! {denial}")).collect();
            format!(
                "boot: kernel {kernel}, SELinux enforcing = {}, init is {context}, after \
                 {uptime_ms} ms{denials}",
                u8::from(*enforcing)
            )
        }
        Event::Service { name, pid, uid, context } => {
            format!("service {name}: pid {pid}, uid {uid}, {context}")
        }
        Event::ServiceExit { name, pid, code, signal } => {
            format!("service {name}: pid {pid} {}", ending(*code, *signal))
        }
        Event::Start { step } => format!("\n== {step}"),
        Event::Line { stream: Stream::Stdout, line, .. } => format!("   {line}"),
        Event::Line { stream: Stream::Stderr, line, .. } => format!(" | {line}"),
        Event::Exit { step, code, signal, timed_out, duration_ms, denials } => {
            let denials: String = denials.iter().map(|denial| format!("! {denial}\n")).collect();
            let late = if *timed_out { ", out of time" } else { "" };
            format!("{denials}== {step} {} after {duration_ms} ms{late}", ending(*code, *signal))
        }
        Event::Fatal { message } => format!("fatal: {message}"),
        Event::Done => "done".into(),
    }
}
