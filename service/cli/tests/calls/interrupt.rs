// SPDX-License-Identifier: Apache-2.0
//! SIGINT and SIGTERM cancel what runs, and leave no file behind.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use crate::recorder::{Recorded, Starts};

const LONG: Duration = Duration::from_secs(30);

fn spawn(tool: &mut Command) -> Child {
    tool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn send(tool: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(tool.id()).unwrap()), signal).unwrap();
}

/// Waits until the service has been asked to wait for a task.
fn until_it_waits(recorded: &Recorded) {
    let begun = Instant::now();
    while !recorded.calls().contains(&"waitFor".to_owned()) {
        assert!(begun.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the tool has blocked the signals: before, they have their usual effect.
fn until_it_watches(tool: &Child) {
    let begun = Instant::now();
    let blocks_sigint = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", tool.id())).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        let sigint = 1 << (Signal::SIGINT as u32 - 1);
        u64::from_str_radix(mask.trim(), 16).unwrap() & sigint != 0
    };
    while !blocks_sigint() {
        assert!(begun.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// The message of a tool that a signal has ended.
fn interrupted(output: &Output) -> String {
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{message}");
    assert!(output.stdout.is_empty());
    message
}

#[test]
fn a_signal_cancels_the_load() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let recorded = Recorded::start(Starts::StuckLoads);
        let file = recorded.file(100 << 20);
        let tool = spawn(recorded.tool().arg("load").arg(&file));
        until_it_waits(&recorded);
        send(&tool, signal);
        let message = interrupted(&tool.wait_with_output().unwrap());
        let expected = format!(
            "file: interrupted by {signal}: the request was cancelled, after 3.0 MiB of 100.0 MiB"
        );
        assert!(message.contains(&expected), "{message}");
        assert_eq!(recorded.calls().iter().filter(|call| *call == "cancel").count(), 1);
    }
}

#[test]
fn an_interrupted_save_keeps_the_target() {
    let recorded = Recorded::start(Starts::StuckSaves);
    let (source, target) = (recorded.file(10_000), recorded.directory.path().join("target"));
    for existing in [None, Some("kept")] {
        if let Some(text) = existing {
            std::fs::write(&target, text).unwrap();
        }
        let before = names(recorded.directory.path());
        let tool = spawn(recorded.tool().arg("save").args([&source, &target]));
        until_it_waits(&recorded);
        assert_eq!(names(recorded.directory.path()).len(), before.len() + 1);
        send(&tool, Signal::SIGINT);
        let message = interrupted(&tool.wait_with_output().unwrap());
        assert!(message.contains("target: interrupted by SIGINT"), "{message}");
        assert_eq!(names(recorded.directory.path()), before);
        assert!(recorded.calls().contains(&"cancel".to_owned()));
    }
    assert_eq!(std::fs::read(&target).unwrap(), b"kept");
}

/// At any moment: while the service starts, loads or saves, and while the tool reads the buffer.
#[test]
fn a_signal_at_any_time_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (temporary, files) = (directory.path().join("tmp"), directory.path().join("files"));
    std::fs::create_dir(&temporary).unwrap();
    std::fs::create_dir(&files).unwrap();
    let (source, target) = (files.join("source"), files.join("target"));
    std::fs::File::create(&source).unwrap().set_len(64 << 20).unwrap();
    let mut statuses = Vec::new();
    for millis in (0..400).step_by(20) {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_dmabufload"));
        tool.env("TMPDIR", &temporary).args(["--embedded", "save", "--heap", "memfd"]);
        let tool = spawn(tool.arg(&source).arg(&target));
        until_it_watches(&tool);
        std::thread::sleep(Duration::from_millis(millis));
        send(&tool, Signal::SIGINT);
        let output = tool.wait_with_output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        let whole = std::fs::metadata(&target).is_ok_and(|found| found.len() == 64 << 20);
        match output.status.code() {
            Some(0) => assert!(whole && message.is_empty(), "{message}"),
            Some(130) => assert!(message.contains("interrupted by SIGINT"), "{message}"),
            other => panic!("{other:?}: {message}"),
        }
        assert!(whole || !target.exists());
        let _ = std::fs::remove_file(&target);
        assert_eq!(names(&files), ["source"], "after {millis} ms");
        assert!(names(&temporary).is_empty(), "after {millis} ms: {:?}", names(&temporary));
        statuses.push(output.status.code());
    }
    assert!(statuses.contains(&Some(130)), "{statuses:?}");
}
