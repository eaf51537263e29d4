// SPDX-License-Identifier: Apache-2.0
//! The tool passes its options on, and makes the same calls on a terminal as elsewhere.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use dmabuf_loader_client::aidl::{
    LoadPath::LoadPath, PathPolicy::PathPolicy, RequestPriority::RequestPriority,
};
use nix::pty::openpty;

use crate::recorder::{Recorded, Starts};

const FILE_BYTES: u64 = 100 << 20;

#[test]
fn the_options_of_a_request_are_passed_on() {
    let recorded = Recorded::start(Starts::Really);
    let (file, target) = (recorded.file(10_000), recorded.directory.path().join("target"));
    let mut tool = recorded.tool();
    tool.arg("save").arg(file).arg(target).args(["--policy", "buffered", "--heap", "memfd"]);
    let options = ["--priority", "latency-critical", "--timeout-ms", "60000"];
    let output = tool.args(options).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let calls = recorded.calls();
    let passed = format!(
        "{:?} {:?} {:?} 60000 ms",
        PathPolicy::AUTO,
        [LoadPath::BUFFERED],
        RequestPriority::LATENCY_CRITICAL
    );
    assert_eq!(calls.iter().filter(|call| call.contains(&passed)).count(), 2, "{calls:?}");
}

#[test]
fn a_terminal_changes_no_call() {
    let recorded = Recorded::start(Starts::Really);
    let file = recorded.file(FILE_BYTES);
    let calls_of = |stderr: Stdio| {
        let mut tool = recorded.tool();
        tool.args(["load", "--heap", "memfd"]).arg(&file);
        let output = tool.stderr(stderr).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("{FILE_BYTES} bytes\n")), "{text}");
        recorded.calls()
    };
    let elsewhere = calls_of(Stdio::piped());
    assert_eq!(elsewhere.iter().filter(|call| call.starts_with("startLoad ")).count(), 1);
    let terminal = openpty(None, None).unwrap();
    let on_terminal = calls_of(terminal.slave.into());
    assert_eq!(on_terminal, elsewhere);
    let mut shown = [0; 4096];
    let len = File::from(terminal.master).read(&mut shown).unwrap();
    let shown = String::from_utf8_lossy(&shown[..len]);
    assert!(shown.starts_with("\rloading ") && shown.contains("100.0 MiB"), "{shown:?}");
}
