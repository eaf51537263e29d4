// SPDX-License-Identifier: Apache-2.0
//! Formats the call trees of a run, with the cost of tracing subtracted.

use std::fmt::Write as _;

use vts_bench_record::{CallNode, CallTree};

use crate::figure::per_gib;
use crate::results::Results;

/// The profile that the author of the public series published, in percent of all samples on his
/// phone: 13 June 2025, Message-ID `80ce3ec9104c4f0abbcb589b03a5f3c7@honor.com`.
const PUBLISHED: [(&str, &str, f64); 9] = [
    ("u+mfd direct R/W", "__x64_sys_pread64", 13.03),
    ("u+mfd direct R/W", "iomap_dio_bio_iter", 12.95),
    ("u+mfd direct R/W", "bio_iov_iter_get_pages", 10.69),
    ("u+mfd direct R/W", "pin_user_pages_fast", 10.53),
    ("u+mfd direct R/W", "__gup_longterm_locked", 10.23),
    ("u+mfd direct R/W", "__get_user_pages", 8.85),
    ("u+mfd direct R/W", "handle_mm_fault", 6.26),
    ("u+mfd direct R/W", "iomap_dio_submit_bio", 1.91),
    ("dmabuf direct c_f_r", "__x64_sys_copy_file_range", 1.13),
];

/// The method whose tree's root is 100 % of all shares.
const REFERENCE: &str = "u+mfd direct R/W";

/// Formats the trees of a run. All shares are relative to the root of the u+mfd read, because 13.03
/// and 1.13 are shares of the same samples.
pub fn trees(results: &Results) -> String {
    let reference = results.call_trees.iter().find(|(method, _)| method == REFERENCE);
    let Some((_, reference)) = reference else { return String::new() };
    // Computed from the tree with many calls: with few calls, the noise of two allocations hides
    // it.
    let added_ns = added_per_call_ns(reference);
    let Some(whole_ns) = net_ns(reference, added_ns).first().copied() else {
        return String::new();
    };
    let whole = per_gib(whole_ns, reference.bytes);
    let published_whole = published(REFERENCE, "__x64_sys_pread64").unwrap_or(1.0);
    let mut text =
        "\nCall trees, million instructions per GiB, and shares of the read(2) of u+mfd\n"
            .to_owned();
    let _ = writeln!(text, "{:>9} {:>7} {:>11}  function (calls)", "", "here", "published");
    for (method, tree) in &results.call_trees {
        let _ = writeln!(text, "{method}");
        let costs = net_ns(tree, added_ns);
        for (node, ns) in tree.nodes.iter().zip(costs) {
            let share = published(method, &node.function).map_or(String::new(), |percent| {
                format!("{:.2} %", 100.0 * percent / published_whole)
            });
            let _ = writeln!(
                text,
                "{:>9.2} {:>5.2} % {share:>11}  {}{} ({})",
                per_gib(ns, tree.bytes) / 1e6,
                100.0 * per_gib(ns, tree.bytes) / whole,
                "  ".repeat(node.depth as usize),
                node.function,
                node.calls,
            );
        }
    }
    text
}

fn published(method: &str, function: &str) -> Option<f64> {
    let found = PUBLISHED.iter().find(|(of, name, _)| *of == method && *name == function);
    found.map(|(_, _, percent)| *percent)
}

/// Returns the cost that the tracer adds to each traced call.
fn added_per_call_ns(tree: &CallTree) -> f64 {
    let calls: u64 = tree.nodes.iter().map(|node| node.calls).sum();
    tree.traced_ns.saturating_sub(tree.untraced_ns) as f64 / calls.max(1) as f64
}

/// Returns the time in each node without the cost of tracing, which is equal for each call at or
/// below the node.
fn net_ns(tree: &CallTree, added_per_call_ns: f64) -> Vec<f64> {
    (0..tree.nodes.len())
        .map(|index| {
            let traced = calls_at_or_below(&tree.nodes[index..]);
            (tree.nodes[index].ns as f64 - added_per_call_ns * traced as f64).max(0.0)
        })
        .collect()
}

/// Counts the calls of the first node and of all nodes below it.
fn calls_at_or_below(nodes: &[CallNode]) -> u64 {
    let Some((first, rest)) = nodes.split_first() else { return 0 };
    let below = rest.iter().take_while(|node| node.depth > first.depth);
    first.calls + below.map(|node| node.calls).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::results;

    fn node(depth: u32, function: &str, calls: u64, ns: u64) -> CallNode {
        CallNode { depth, function: function.to_owned(), calls, ns }
    }

    #[test]
    fn the_cost_of_tracing_is_subtracted() {
        let tree = CallTree {
            bytes: 1 << 30,
            untraced_ns: 1000,
            traced_ns: 1400,
            nodes: vec![node(0, "read", 1, 900), node(1, "pin", 2, 500), node(0, "other", 1, 300)],
        };
        assert_eq!(net_ns(&tree, added_per_call_ns(&tree)), [600.0, 300.0, 200.0]);
    }

    #[test]
    fn shares_are_relative_to_the_reference() {
        let tree = |root: &str, ns| CallTree {
            bytes: 1 << 30,
            untraced_ns: 0,
            traced_ns: 0,
            nodes: vec![node(0, root, 1, ns)],
        };
        let mut all = results(vec![]);
        assert_eq!(trees(&all), "");
        all.call_trees = vec![
            (REFERENCE.to_owned(), tree("__x64_sys_pread64", 200_000_000)),
            ("dmabuf direct c_f_r".to_owned(), tree("__x64_sys_copy_file_range", 1_000_000)),
        ];
        let text = trees(&all);
        assert!(text.contains("   200.00 100.00 %    100.00 %  __x64_sys_pread64 (1)\n"), "{text}");
        assert!(
            text.contains("     1.00  0.50 %      8.67 %  __x64_sys_copy_file_range (1)\n"),
            "{text}"
        );
    }
}
