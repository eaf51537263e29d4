// SPDX-License-Identifier: Apache-2.0
//! Parses the output of the function graph tracer, and sums calls of the same function from the
//! same caller.
//!
//! ```text
//!  0)               |  __x64_sys_pread64() {
//!  0)   1.234 us    |    iomap_iter();
//!  0) ! 512.000 us  |  } /* __x64_sys_pread64 */
//! ```

use vts_bench_record::CallNode;

/// Returns the trees, each node before those below it.
pub fn tree(text: &str) -> Vec<CallNode> {
    let mut all = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((left, right)) = line.split_once('|') else { continue };
        let (call, ns) = (right.trim(), nanoseconds(left));
        if let Some(function) = call.strip_suffix("() {") {
            let node = find(&mut all, open.last().copied(), function);
            open.push(node);
        } else if let Some(function) = call.strip_suffix("();") {
            let node = find(&mut all, open.last().copied(), function);
            count(&mut all[node], ns);
        } else if call.starts_with('}') {
            // An end without a beginning belongs to a call from before the trace.
            if let Some(node) = open.pop() {
                count(&mut all[node], ns);
            }
        }
    }
    in_order(&all)
}

#[derive(Debug)]
struct Node {
    parent: Option<usize>,
    function: String,
    calls: u64,
    ns: u64,
}

fn find(all: &mut Vec<Node>, parent: Option<usize>, function: &str) -> usize {
    let same = |node: &Node| node.parent == parent && node.function == function;
    all.iter().position(same).unwrap_or_else(|| {
        all.push(Node { parent, function: function.to_owned(), calls: 0, ns: 0 });
        all.len() - 1
    })
}

fn count(node: &mut Node, ns: Option<u64>) {
    node.calls += 1;
    node.ns += ns.unwrap_or(0);
}

/// Parses the duration left of the bar: microseconds with three decimals, possibly with a mark
/// before it.
fn nanoseconds(left: &str) -> Option<u64> {
    let fields: Vec<&str> = left.split_whitespace().collect();
    let unit = fields.iter().position(|word| *word == "us")?;
    let (whole, decimals) = fields.get(unit.checked_sub(1)?)?.split_once('.')?;
    let decimals = format!("{decimals:0<3}");
    Some(whole.parse::<u64>().ok()? * 1000 + decimals.get(..3)?.parse::<u64>().ok()?)
}

fn in_order(all: &[Node]) -> Vec<CallNode> {
    fn add(all: &[Node], parent: Option<usize>, depth: u32, ordered: &mut Vec<CallNode>) {
        let mut children: Vec<(usize, &Node)> =
            all.iter().enumerate().filter(|(_, node)| node.parent == parent).collect();
        children.sort_by_key(|(_, node)| std::cmp::Reverse(node.ns));
        for (index, node) in children {
            let (function, calls, ns) = (node.function.clone(), node.calls, node.ns);
            ordered.push(CallNode { depth, function, calls, ns });
            add(all, Some(index), depth + 1, ordered);
        }
    }
    let mut ordered = Vec::new();
    add(all, None, 0, &mut ordered);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_the_same_place_add_up() {
        let text = "# tracer: function_graph\n\
             0)               |  read() {\n\
             0)   1.500 us    |    iter();\n\
             0)               |    bio() {\n\
             0) + 20.250 us   |      pin();\n\
             0) + 30.000 us   |    } /* bio */\n\
             0)   0.500 us    |    iter();\n\
             0) ! 512.000 us  |  } /* read */\n";
        let seen: Vec<(u32, String, u64, u64)> = tree(text)
            .into_iter()
            .map(|node| (node.depth, node.function, node.calls, node.ns))
            .collect();
        let node = |depth, function: &str, calls, ns| (depth, function.to_owned(), calls, ns);
        assert_eq!(
            seen,
            [
                node(0, "read", 1, 512_000),
                node(1, "bio", 1, 30_000),
                node(2, "pin", 1, 20_250),
                node(1, "iter", 2, 2_000),
            ]
        );
    }

    #[test]
    fn an_end_without_a_beginning_is_skipped() {
        assert_eq!(tree(" 0)   1.000 us    |  } /* read */\n"), []);
        assert_eq!(tree("nonsense\n"), []);
    }
}
