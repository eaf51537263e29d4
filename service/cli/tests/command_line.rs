// SPDX-License-Identifier: Apache-2.0
//! Tests of the tool as a user runs it, with its embedded service.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn dmabufload(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dmabufload")).arg("--embedded").args(args).output().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn error(output: &Output, status: i32) -> String {
    assert_eq!(output.status.code(), Some(status));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A file on tmpfs, which supports no direct I/O, independent of the temporary directory's file
/// system.
struct TmpfsFile(File);

impl TmpfsFile {
    fn with(bytes: &[u8]) -> Self {
        let memfd = dmabuf_uapi::memfd::create_sealed(c"source", bytes.len() as u64).unwrap();
        let file = File::from(memfd);
        file.write_all_at(bytes, 0).unwrap();
        Self(file)
    }

    fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }
}

#[test]
fn load_reports_the_bytes_and_their_digest() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("abc");
    std::fs::write(&file, "abc").unwrap();
    let report = json(&dmabufload(&["load", text(&file), "--json"]));
    assert_eq!(report["bytes"], 3);
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(report["sha256"], digest);
    for key in ["path", "heap", "deviceShareable", "notTaken", "direct", "service"] {
        assert!(!report[key].is_null(), "{key} in {report}");
    }
    for not_taken in report["notTaken"].as_array().unwrap() {
        assert!(not_taken["path"].is_string() && not_taken["reason"].is_string());
    }
}

#[test]
fn a_memfd_buffer_is_reported_as_not_shareable() {
    let file = TmpfsFile::with(&[7; 70_000]);
    let report = json(&dmabufload(&["load", text(&file.path()), "--heap", "memfd", "--json"]));
    assert_eq!(report["deviceShareable"], false);
    assert_eq!(report["heap"], "memfd");
    assert_eq!(report["path"], "BUFFERED");
    let not_taken: Vec<(&str, &str)> = report["notTaken"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["path"].as_str().unwrap(), entry["reason"].as_str().unwrap()))
        .collect();
    let expected = [
        ("COPY_FILE_RANGE", "KERNEL_UNSUPPORTED"),
        ("UDMABUF_DIRECT", "FILE_LACKS_DIRECT_IO"),
        ("BOUNCE", "FILE_LACKS_DIRECT_IO"),
        ("COPY_FILE_RANGE", "KERNEL_UNSUPPORTED"),
    ];
    assert_eq!(not_taken, expected);
    // The report leaves out the detail of kernel support; the tool takes it from the capabilities.
    for entry in report["notTaken"].as_array().unwrap() {
        assert!(!entry["detail"].as_str().unwrap().is_empty(), "{entry}");
    }
}

#[test]
fn errors_say_why_a_file_cannot_be_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let shown = error(&dmabufload(&["load", text(&missing)]), 1);
    assert!(shown.contains("missing: No such file or directory"), "{shown}");

    let shown = error(&dmabufload(&["load", text(directory.path())]), 1);
    assert!(shown.contains("is a directory, expected a file"), "{shown}");

    let empty = directory.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let shown = error(&dmabufload(&["load", text(&empty)]), 1);
    assert!(shown.contains("empty: is empty"), "{shown}");

    let shown = error(&dmabufload(&["load", "/dev/null"]), 1);
    assert!(shown.contains("is not a regular file"), "{shown}");
}

#[test]
fn errors_of_the_service_name_file_and_argument() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("f");
    std::fs::write(&file, "bytes").unwrap();
    let shown = error(&dmabufload(&["load", text(&file), "--heap", "nope"]), 1);
    assert!(shown.contains("f: heap: no heap \"nope\""), "{shown}");
    let tmpfs = TmpfsFile::with(b"bytes");
    let path = tmpfs.path();
    let shown = error(&dmabufload(&["load", text(&path), "--policy", "require-direct"]), 1);
    assert!(shown.contains("REQUIRE_DIRECT cannot be kept"), "{shown}");
    let wrong = "0".repeat(64);
    let shown = error(&dmabufload(&["load", text(&file), "--expect-sha256", &wrong]), 1);
    assert!(shown.contains("the loaded bytes have SHA-256"), "{shown}");
    let digest = format!("sha256:{wrong}");
    let shown = error(&dmabufload(&["load", text(&path), "--expect-verity-digest", &digest]), 1);
    assert!(shown.contains(&format!("has no fs-verity, expected {digest}")), "{shown}");
}

#[test]
fn the_verity_digest_is_reported_on_request() {
    let file = TmpfsFile::with(b"bytes");
    let path = file.path();
    let report = json(&dmabufload(&["load", text(&path), "--json"]));
    assert!(report.get("verityDigest").is_none());
    let report = json(&dmabufload(&["load", text(&path), "--json", "--verity-digest"]));
    assert!(report["verityDigest"].is_null() && report.get("verityDigest").is_some());
    let shown = dmabufload(&["load", text(&path), "--verity-digest"]);
    assert!(String::from_utf8(shown.stdout).unwrap().contains("\n  fs-verity none\n"));
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    assert!(error(&dmabufload(&["load"]), 2).contains("<FILE>"));
    let shown = error(&dmabufload(&["load", "f", "--expect-sha256", "12"]), 2);
    assert!(shown.contains("64 hexadecimal digits"), "{shown}");
    let shown = error(&dmabufload(&["load", "f", "--expect-verity-digest", "sha512:12"]), 2);
    assert!(shown.contains("128 hexadecimal digits"), "{shown}");
}

#[test]
fn a_wrong_option_says_what_was_expected() {
    for (option, value, expected) in [
        ("--segment", "0:1", "expected FILE_OFFSET:LENGTH:BUFFER_OFFSET"),
        ("--segment", "0:4KB:0", "LENGTH: expected bytes, as 4096, 4KiB, 1MiB or 2GiB"),
        ("--timeout-ms", "0", "0 is not in 1.."),
        ("--timeout-ms", "1s", "invalid digit"),
        ("--priority", "urgent", "latency-critical, normal, bulk"),
    ] {
        let shown = error(&dmabufload(&["load", "f", option, value]), 2);
        assert!(shown.contains(option) && shown.contains(expected), "{shown}");
    }
}

#[test]
fn load_takes_segments_in_their_order() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    let bytes: Vec<u8> = (0..20_000_u32).map(|index| (index % 251) as u8).collect();
    std::fs::write(&file, &bytes).unwrap();
    let segments = ["--segment", "16KiB:end:0", "--segment", "5:100:8KiB"];
    let args = [&["load", text(&file), "--heap", "memfd", "--json"][..], &segments].concat();
    let report = json(&dmabufload(&args));
    let moved = [&bytes[16 << 10..], &bytes[5..105]].concat();
    assert_eq!(report["bytes"], moved.len());
    assert_eq!(report["sha256"], sha256(&moved));
    assert_eq!(report["bufferBytes"], 12 << 10);
    let second = &report["segments"][1];
    assert_eq!((&second["fileOffsetBytes"], &second["bytes"]), (&5.into(), &100.into()));
    assert_eq!(second["bufferOffsetBytes"], 8 << 10);
    let shown = dmabufload(&[&["load", text(&file), "--heap", "memfd"][..], &segments].concat());
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("\n  100 bytes from 5 of the file at 8192\n"), "{shown}");
}

#[test]
fn segments_that_overlap_are_refused_by_number() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, [1; 100]).unwrap();
    let segments = ["--segment", "0:10:0", "--segment", "20:10:9"];
    let shown = error(&dmabufload(&[&["load", text(&file)][..], &segments].concat()), 1);
    assert!(shown.contains("file: segments"), "{shown}");
}

#[test]
fn save_writes_segments_of_the_buffer() {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (directory.path().join("source"), directory.path().join("target"));
    std::fs::write(&source, "0123456789").unwrap();
    let save = ["save", text(&source), text(&target), "--json"];
    let segments = ["--segment", "0:end:7", "--segment", "5:3:1"];
    assert_eq!(json(&dmabufload(&[&save[..], &segments].concat()))["bytes"], 6);
    assert_eq!(std::fs::read(&target).unwrap(), b"789\0\x00123");
    let beyond = [&save[..], &["--segment", "0:1:10"]].concat();
    let shown = error(&dmabufload(&beyond), 1);
    assert!(shown.contains("--segment 0:1:10: LENGTH: expected at most 0"), "{shown}");
}

#[test]
fn a_timeout_ends_load_and_save() {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (directory.path().join("source"), directory.path().join("target"));
    File::create(&source).unwrap().set_len(512 << 20).unwrap();
    for command in [&["load", text(&source)][..], &["save", text(&source), text(&target)]] {
        let options = ["--timeout-ms", "1", "--priority", "bulk", "--heap", "memfd"];
        let shown = error(&dmabufload(&[command, &options].concat()), 1);
        assert!(shown.contains("source: ") && shown.contains("deadline"), "{shown}");
        assert!(!target.exists());
    }
}

#[test]
fn save_copies_through_a_buffer() {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (directory.path().join("source"), directory.path().join("target"));
    let bytes: Vec<u8> = (0..300_007_u32).map(|index| (index * 7) as u8).collect();
    std::fs::write(&source, &bytes).unwrap();
    let report = json(&dmabufload(&["save", text(&source), text(&target), "--json"]));
    assert_eq!(report["bytes"], 300_007);
    assert!(report["load"]["path"].is_string() && report["save"]["path"].is_string());
    assert_eq!(std::fs::read(&target).unwrap(), bytes);
}

#[test]
fn a_failed_save_keeps_the_target() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("target");
    std::fs::write(&target, "kept").unwrap();
    let missing = directory.path().join("missing");
    error(&dmabufload(&["save", text(&missing), text(&target)]), 1);
    assert_eq!(std::fs::read(&target).unwrap(), b"kept");
}

#[test]
fn a_save_past_the_file_size_limit_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (directory.path().join("source"), directory.path().join("target"));
    std::fs::write(&source, vec![7; 100_000]).unwrap();
    let script = r#"ulimit -f 8 && exec "$0" --embedded save "$1" "$2""#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_dmabufload"), text(&source), text(&target)]);
    let message = error(&shell.output().unwrap(), 1);
    assert!(message.contains("errno=27 (File too large)"), "{message}");
}

#[test]
fn bench_times_each_path_that_works() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, vec![7; 3 << 20]).unwrap();
    let bench = ["bench", "--heap", "memfd", "--count", "3", text(&file)];
    let report = json(&dmabufload(&[&bench[..], &["--json"]].concat()));
    assert_eq!(report["bytes"], 3 << 20);
    let paths = report["paths"].as_array().unwrap();
    assert_eq!(paths.len(), 4);
    let unavailable = |path: &&Value| path.get("unavailable").is_some();
    // No kernel moves bytes from a file into a memfd by copy_file_range, and a mapping works.
    assert!(unavailable(&&paths[0]) && paths[0]["path"] == "COPY_FILE_RANGE");
    assert!(!unavailable(&&paths[3]) && paths[3]["path"] == "BUFFERED");
    for path in paths.iter().filter(|path| !unavailable(path)) {
        let nanos = ["minNanos", "medianNanos", "maxNanos"].map(|key| path[key].as_u64().unwrap());
        assert!(nanos[0] > 0 && nanos.is_sorted(), "{path}");
        assert!(path["bytesPerSecond"].as_u64().unwrap() > 0);
        assert_eq!(path["heap"], "memfd");
    }
    let shown = String::from_utf8(dmabufload(&bench).stdout).unwrap();
    assert!(shown.contains("file: 3.0 MiB, 3 loads by each path, page cache dropped"), "{shown}");
    assert!(shown.contains("\n  COPY_FILE_RANGE: ") && shown.contains("\n  BUFFERED: "), "{shown}");
    let shown = error(&dmabufload(&["bench", "--heap", "nope", text(&file)]), 1);
    assert!(shown.contains("file: heap: no heap"), "{shown}");
    assert!(error(&dmabufload(&["bench", "--count", "0", "f"]), 2).contains("--count"));
}

#[test]
fn shells_take_their_completion() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = dmabufload(&["completion", shell]);
        assert!(output.status.success());
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.contains("expect-verity-digest") && script.contains("watch"), "{shell}");
        if shell == "bash" {
            let checked = Command::new("bash").args(["-n", "-c", &script]).status().unwrap();
            assert!(checked.success());
        }
    }
    let shown = error(&dmabufload(&["completion", "cmd"]), 2);
    assert!(shown.contains("bash"), "{shown}");
}

#[test]
fn help_shows_examples() {
    for command in ["heaps", "load", "save", "stats", "watch", "bench", "completion"] {
        let output = dmabufload(&["help", command]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("Example") && text.contains(&format!("  dmabufload {command}")));
    }
}

#[test]
fn only_a_registered_service_tells_its_state() {
    for command in [&["stats"][..], &["watch", "-n", "1"]] {
        let shown = error(&dmabufload(command), 1);
        assert!(shown.contains("the service is embedded: only a registered one"), "{shown}");
    }
    let shown = error(&dmabufload(&["watch", "--seconds", "0"]), 2);
    assert!(shown.contains("0 is not in 1..=86400"), "{shown}");
}

#[test]
fn heaps_lists_each_heap_with_its_paths() {
    let heaps = json(&dmabufload(&["heaps", "--json"]));
    let memfd = heaps.as_array().unwrap().iter().find(|heap| heap["name"] == "memfd").unwrap();
    assert_eq!(memfd["kind"], "MEMFD");
    assert_eq!(memfd["paths"].as_array().unwrap().len(), 4);
    for fact in ["servesAnyHeap", "cpuCached", "hugePages"] {
        assert_eq!(memfd[fact], true, "{fact}");
    }
    for fact in ["contiguous", "cpuProtected"] {
        assert_eq!(memfd[fact], false, "{fact}");
    }
}
