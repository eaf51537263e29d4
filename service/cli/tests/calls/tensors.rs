// SPDX-License-Identifier: Apache-2.0
//! The requests that load the tensors of a file.

use crate::recorder::{Recorded, Starts};

/// More than a request has segments.
const TENSORS: usize = 5000;

#[test]
fn neighbours_are_merged_and_the_rest_is_split() {
    let recorded = Recorded::start(Starts::Really);
    let file = recorded.file(1);
    let entry = |n| {
        format!(r#""{n}":{{"dtype":"U8","shape":[3],"data_offsets":[{},{}]}}"#, 3 * n, 3 * n + 3)
    };
    let header = format!("{{{}}}", (0..TENSORS).map(entry).collect::<Vec<_>>().join(","));
    let length = (header.len() as u64).to_le_bytes();
    let bytes = [&length[..], header.as_bytes(), &[7; 3 * TENSORS]].concat();
    std::fs::write(&file, bytes).unwrap();
    for (align, requests) in [("1", &[1][..]), ("file", &[1]), ("64", &[4096, TENSORS - 4096])] {
        let mut tool = recorded.tool();
        let output =
            tool.args(["load", "--tensors", "--align", align, "--heap", "memfd"]).arg(&file);
        let output = output.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let calls = recorded.calls();
        let loads = calls.iter().filter(|call| call.starts_with("startLoad "));
        let segments: Vec<usize> = loads.map(|call| call.matches("Segment {").count()).collect();
        assert_eq!(segments, requests, "--align {align}");
    }
}
