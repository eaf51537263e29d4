// SPDX-License-Identifier: Apache-2.0
//! Tests of `load --tensors`: each tensor arrives, and what is wrong with a header is said.

mod python;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn load(file: &Path, options: &[&str]) -> Output {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_dmabufload"));
    tool.args(["--embedded", "load", "--tensors", "--heap", "memfd"]).args(options).arg(file);
    tool.output().unwrap()
}

fn report(file: &Path, options: &[&str]) -> Value {
    let output = load(file, &[options, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is known of each tensor, by its name.
fn by_name(report: &Value) -> BTreeMap<&str, &Value> {
    let tensors = report["tensors"].as_array().unwrap();
    tensors.iter().map(|tensor| (tensor["name"].as_str().unwrap(), tensor)).collect()
}

/// A file of `count` tensors of three bytes, by the published format.
fn safetensors_of(count: u32) -> (Vec<u8>, Vec<[u8; 3]>) {
    let data: Vec<[u8; 3]> = (0..count).map(|n| [n as u8, (n >> 8) as u8, 7]).collect();
    let entry = |n: u32| {
        let (begin, end) = (3 * n, 3 * n + 3);
        format!(r#""t{n}":{{"dtype":"U8","shape":[3],"data_offsets":[{begin},{end}]}}"#)
    };
    let header = format!("{{{}}}", (0..count).map(entry).collect::<Vec<_>>().join(","));
    let length = (header.len() as u64).to_le_bytes();
    ([&length[..], header.as_bytes(), &data.concat()].concat(), data)
}

/// Compares what the tool has loaded with what a library has read from the same file.
fn compare(file: &Path, read: &Value) {
    let read = read.as_object().unwrap();
    for align in [64, 1, 4096] {
        let report = report(file, &["--align", &align.to_string()]);
        let tensors = by_name(&report);
        assert_eq!(tensors.len(), read.len());
        for (name, expected) in read {
            let found = tensors[name.as_str()];
            for fact in ["shape", "bytes", "sha256"] {
                assert_eq!(found[fact], expected[fact], "{name}: {fact} with --align {align}");
            }
            assert_eq!(found["bufferOffsetBytes"].as_u64().unwrap() % align, 0, "{name}");
        }
    }
    let as_in_file = report(file, &["--align", "file"]);
    for (name, found) in by_name(&as_in_file) {
        assert_eq!(found["sha256"], read[name]["sha256"], "{name}");
    }
}

/// Runs a program of a library that writes a file and prints what it reads from it.
fn written_by(python: &Path, program: &str, file: &Path) -> Value {
    let output = Command::new(python).args(["-c", program]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn what_the_safetensors_library_writes_is_loaded() {
    let python = match python::with_library("safetensors", "safetensors==0.8.0") {
        Ok(python) => python,
        Err(reason) => return println!("SKIPPED: no Python library of safetensors: {reason}"),
    };
    let program = r#"
import ctypes, hashlib, json, math, sys, safetensors
kept = []
def tensor(dtype, shape, size, seed):
    count = size * math.prod(shape)
    data = bytes((index * seed + index // 251) % 256 for index in range(count))
    if not hasattr(safetensors, "TensorSpec"): # up to 0.7
        return {"dtype": dtype, "shape": shape, "data": data}
    kept.append(ctypes.create_string_buffer(data, max(count, 1)))
    address = ctypes.addressof(kept[-1])
    return safetensors.TensorSpec(dtype=dtype, shape=shape, data_ptr=address, data_len=count)
tensors = {
    "embedding": tensor("float32", [300, 64], 4, 7),
    "layers.0.weight": tensor("bfloat16", [33, 65], 2, 11),
    "layers.0.bias": tensor("float16", [33], 2, 13),
    "ids": tensor("int64", [5], 8, 17),
    "mask": tensor("bool", [1, 1, 7], 1, 19),
    "scalar": tensor("float64", [], 8, 23),
    "empty": tensor("uint8", [0, 4], 1, 29),
    "größe": tensor("uint8", [4099], 1, 31),
}
safetensors.serialize_file(tensors, sys.argv[1], {"format": "pt", "note": "\u00fc"})
read = safetensors.deserialize(open(sys.argv[1], "rb").read())
print(json.dumps({name: {
    "shape": list(tensor["shape"]),
    "bytes": len(tensor["data"]),
    "sha256": hashlib.sha256(bytes(tensor["data"])).hexdigest(),
} for name, tensor in read}))
"#;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("model.safetensors");
    let read = written_by(&python, program, &file);
    assert_eq!(read.as_object().unwrap().len(), 8);
    compare(&file, &read);
    let report = report(&file, &[]);
    let tensors = by_name(&report);
    for (name, dtype) in [("embedding", "F32"), ("layers.0.weight", "BF16"), ("mask", "BOOL")] {
        assert_eq!(tensors[name]["dtype"], dtype);
    }
}

#[test]
fn what_the_gguf_library_writes_is_loaded() {
    let python = match python::with_library("gguf", "gguf==0.19.0") {
        Ok(python) => python,
        Err(reason) => return println!("SKIPPED: no Python library of GGUF: {reason}"),
    };
    let program = r#"
import hashlib, json, sys, numpy, gguf
writer = gguf.GGUFWriter(sys.argv[1], "llama")
writer.add_string("general.name", "größe")
writer.add_array("tokenizer.ggml.tokens", ["a", "bc", ""])
writer.add_array("tokenizer.ggml.scores", [0.5, 1.5])
random = numpy.random.default_rng(7)
weights = random.standard_normal((65, 256), dtype=numpy.float32)
writer.add_tensor("token_embd.weight", weights)
writer.add_tensor("blk.0.bias", random.standard_normal(33).astype(numpy.float16))
writer.add_tensor("blk.0.q8", gguf.quantize(weights, gguf.GGMLQuantizationType.Q8_0),
                  raw_dtype=gguf.GGMLQuantizationType.Q8_0)
writer.add_tensor("ids", numpy.arange(5, dtype=numpy.int64))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
print(json.dumps({tensor.name: {
    "shape": [int(dimension) for dimension in tensor.shape],
    "bytes": int(tensor.n_bytes),
    "sha256": hashlib.sha256(tensor.data.tobytes()).hexdigest(),
} for tensor in gguf.GGUFReader(sys.argv[1]).tensors}))
"#;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("model.gguf");
    let read = written_by(&python, program, &file);
    assert_eq!(read.as_object().unwrap().len(), 4);
    compare(&file, &read);
    assert_eq!(by_name(&report(&file, &[]))["blk.0.q8"]["dtype"], "Q8_0");
}

/// By a writer of the test, which needs no library: more tensors than a request has segments.
#[test]
fn thousands_of_tensors_are_loaded_one_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("model.safetensors");
    let (bytes, data) = safetensors_of(5000);
    std::fs::write(&file, bytes).unwrap();
    let report = report(&file, &["--align", "64"]);
    assert_eq!(report["bytes"], 15_000);
    let tensors = by_name(&report);
    for (n, expected) in data.iter().enumerate() {
        let tensor = tensors[format!("t{n}").as_str()];
        assert_eq!(tensor["sha256"], sha256(expected), "{n}");
        assert_eq!(tensor["bufferOffsetBytes"], 64 * n);
    }
}

/// Whether direct I/O is possible at all, the load of the whole file tells.
#[test]
fn places_as_in_the_file_permit_direct_io() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("model.safetensors");
    let header = br#"{"w":{"dtype":"U8","shape":[1048577],"data_offsets":[0,1048577]}}"#;
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(&file, [&length[..], header, &[7; (1 << 20) + 1]].concat()).unwrap();
    let direct = |options: &[&str]| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_dmabufload"));
        tool.args(["--embedded", "load", "--heap", "memfd", "--json"]).args(options).arg(&file);
        let report: Value = serde_json::from_slice(&tool.output().unwrap().stdout).unwrap();
        report["directBytes"].as_u64().unwrap()
    };
    let (whole, tensors) = (direct(&[]), direct(&["--tensors", "--align", "file"]));
    assert_eq!(whole > 0, tensors > 0, "{whole} and {tensors} bytes direct");
    assert!(whole.abs_diff(tensors) <= 8192, "{whole} and {tensors} bytes direct");
}

#[test]
fn the_list_needs_no_service() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("model.safetensors");
    std::fs::write(&file, safetensors_of(2).0).unwrap();
    let nowhere = directory.path().join("socket");
    let tool = |json: Option<&str>| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_dmabufload"));
        tool.arg("--socket").arg(&nowhere).args(["load", "--tensors", "--list"]).args(json);
        let output = tool.arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let listed: Value = serde_json::from_str(&tool(Some("--json"))).unwrap();
    assert_eq!((&listed["bytes"], &listed["bufferBytes"]), (&6.into(), &67.into()));
    assert!(listed.get("heap").is_none() && listed["tensors"][1].get("sha256").is_none());
    let text = tool(None);
    assert!(text.contains("2 tensors, 6 bytes\n"), "{text}");
    assert!(text.contains("\n  t1      U8    [3]        64      3\n"), "{text}");
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("model");
    let (bytes, _) = safetensors_of(2);
    for (content, expected) in [
        (&b"short"[..], "too few for a safetensors or GGUF file"),
        (&[0xff; 100], "safetensors header: has 18446744073709551615 bytes, expected at most 92"),
        (&bytes[..bytes.len() - 1], "tensor \"t1\": data_offsets are [3, 6]"),
        (b"GGUF\x01\0\0\0", "GGUF header: has version 1, expected 2 or 3"),
        (b"\x02\0\0\0\0\0\0\0{}", "has no tensor with bytes to load"),
    ] {
        std::fs::write(&file, content).unwrap();
        let output = load(&file, &[]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains("model: ") && message.contains(expected), "{message}");
    }
    for options in [&["--align", "48"][..], &["--segment", "0:1:0"]] {
        assert_eq!(load(&file, options).status.code(), Some(2), "{options:?}");
    }
    let mut alone = Command::new(env!("CARGO_BIN_EXE_dmabufload"));
    let output = alone.args(["load", "--list"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "--list goes with --tensors");
}
