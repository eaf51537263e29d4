// SPDX-License-Identifier: Apache-2.0
//! `dmabufload heaps`: lists the heaps and their paths as text or JSON.

use dmabuf_loader_client::aidl::HeapFact::HeapFact;
use serde::Serialize;

use crate::args::{HeapsArgs, ServiceArgs};
use crate::connect::connect;
use crate::interrupt::Interrupt;
use crate::output::{heap_kind, path_name, print_json};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeapLine {
    name: String,
    kind: &'static str,
    device_shareable: bool,
    max_buffer_bytes: i64,
    serves_any_heap: bool,
    cpu_cached: Option<bool>,
    contiguous: Option<bool>,
    cpu_protected: Option<bool>,
    huge_pages: Option<bool>,
    paths: Vec<PathLine>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PathLine {
    path: &'static str,
    supported: bool,
    detail: String,
}

impl HeapLine {
    /// What is known about the memory, in words.
    fn facts(&self) -> String {
        let facts = [
            ("cached", self.cpu_cached),
            ("contiguous", self.contiguous),
            ("protected", self.cpu_protected),
            ("in huge pages", self.huge_pages),
        ];
        let words = facts.into_iter().map(|(what, fact)| match fact {
            None => format!("{what}: unknown"),
            Some(false) => format!("not {what}"),
            Some(true) => what.to_owned(),
        });
        let named =
            if self.serves_any_heap { vec![] } else { vec!["by its name alone".to_owned()] };
        words.chain(named).collect::<Vec<_>>().join(", ")
    }
}

fn known(fact: HeapFact) -> Option<bool> {
    match fact {
        HeapFact::NO => Some(false),
        HeapFact::YES => Some(true),
        _ => None,
    }
}

/// Lists the heaps.
pub fn run(service: &ServiceArgs, interrupt: &Interrupt, args: &HeapsArgs) -> anyhow::Result<()> {
    let connection = connect(service, interrupt)?;
    let capabilities = connection.loader.capabilities()?;
    let lines: Vec<HeapLine> = connection
        .loader
        .heaps()?
        .into_iter()
        .map(|heap| HeapLine {
            kind: heap_kind(heap.kind),
            device_shareable: heap.deviceShareable,
            max_buffer_bytes: heap.maxBufferBytes,
            serves_any_heap: heap.servesAnyHeap,
            cpu_cached: known(heap.cpuCached),
            contiguous: known(heap.contiguous),
            cpu_protected: known(heap.cpuProtected),
            huge_pages: known(heap.hugePages),
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
        println!("    {}", heap.facts());
        for path in &heap.paths {
            let mark = if path.supported { "yes" } else { "no" };
            println!("    {}: {mark} ({})", path.path, path.detail);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_about_a_heap_is_put_in_words() {
        let mut heap = HeapLine {
            name: "system".to_owned(),
            kind: "DMABUF",
            device_shareable: true,
            max_buffer_bytes: 4096,
            serves_any_heap: true,
            cpu_cached: Some(true),
            contiguous: Some(false),
            cpu_protected: Some(false),
            huge_pages: None,
            paths: Vec::new(),
        };
        let words = "cached, not contiguous, not protected, in huge pages: unknown";
        assert_eq!(heap.facts(), words);
        heap.serves_any_heap = false;
        assert_eq!(heap.facts(), format!("{words}, by its name alone"));
    }
}
