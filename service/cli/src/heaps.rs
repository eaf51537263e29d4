// SPDX-License-Identifier: Apache-2.0
//! `dmabufload heaps`: lists the heaps and their paths as text or JSON.

use serde::Serialize;

use crate::args::{HeapsArgs, ServiceArgs};
use crate::connect::connect;
use crate::output::{heap_kind, path_name, print_json};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeapLine {
    name: String,
    kind: &'static str,
    device_shareable: bool,
    max_buffer_bytes: i64,
    paths: Vec<PathLine>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PathLine {
    path: &'static str,
    supported: bool,
    detail: String,
}

/// Lists the heaps.
pub fn run(service: &ServiceArgs, args: &HeapsArgs) -> anyhow::Result<()> {
    let connection = connect(service)?;
    let capabilities = connection.loader.capabilities()?;
    let lines: Vec<HeapLine> = connection
        .loader
        .heaps()?
        .into_iter()
        .map(|heap| HeapLine {
            kind: heap_kind(heap.kind),
            device_shareable: heap.deviceShareable,
            max_buffer_bytes: heap.maxBufferBytes,
            paths: capabilities
                .paths
                .iter()
                .filter(|support| support.heap == heap.name)
                .map(|support| PathLine {
                    path: path_name(support.path),
                    supported: support.supported,
                    detail: support.detail.clone(),
                })
                .collect(),
            name: heap.name,
        })
        .collect();
    if args.json {
        return print_json(&lines);
    }
    for heap in &lines {
        let shareable = if heap.device_shareable { "" } else { ", not device-shareable" };
        println!("{}: {}, up to {} bytes{shareable}", heap.name, heap.kind, heap.max_buffer_bytes);
        for path in &heap.paths {
            let mark = if path.supported { "yes" } else { "no" };
            println!("    {}: {mark} ({})", path.path, path.detail);
        }
    }
    Ok(())
}
