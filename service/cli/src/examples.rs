// SPDX-License-Identifier: Apache-2.0
//! What `--help` teaches after the options: each command line is one that the tool takes.

/// Of the tool itself.
pub const TOOL: &str = "\
Examples:
  dmabufload heaps
      What this device or machine can do, and why not more.
  dmabufload load model.bin
      Load a file; the output says by which path, and why not by a cheaper one.
  dmabufload load --policy require-direct model.bin
      Fail, with the reason, where the file cannot be loaded by direct I/O.
  dmabufload watch
      See what the service does while clients use it.

`dmabufload help COMMAND` has more of each. The exit status is 0 for done, 1 for failed, 2 for a
wrong command line, and 130 for interrupted: Ctrl-C cancels the request and leaves no file behind.";

/// Of `heaps`.
pub const HEAPS: &str = "\
Examples:
  dmabufload heaps
      The heaps in the order in which a request without --heap tries them.
  dmabufload heaps --json
      The same for programs.";

/// Of `load`.
pub const LOAD: &str = "\
Examples:
  dmabufload load model.bin
      All of the file, to a buffer of a heap that the service chooses.
  dmabufload load --heap system --json model.bin
      To a named heap; print JSON.
  dmabufload load --segment 0:4KiB:0 --segment 1MiB:end:4KiB model.bin
      The first 4 KiB, and what follows the first MiB, one after the other in the buffer.
  dmabufload load --priority latency-critical --timeout-ms 500 shader.bin
      Before what else waits, and not later than in half a second.
  dmabufload load --tensors --list model.safetensors
      The tensors of a model, and where they would lie.
  dmabufload load --tensors --align 4KiB model.gguf
      Each tensor to its own pages.
  dmabufload load --tensors --align file model.gguf
      The tensors as they lie in the file: fewest segments, and direct I/O.
  dmabufload load --verity-digest /vendor/etc/model.bin
      With the fs-verity digest that the kernel enforces.";

/// Of `save`.
pub const SAVE: &str = "\
Examples:
  dmabufload save model.bin copy.bin
      Through a buffer. The target changes only when the whole copy is written.
  dmabufload save --segment 0:1MiB:4KiB model.bin part.bin
      One MiB of the buffer, from its second page on, to the start of the target.
  dmabufload save --priority bulk --timeout-ms 60000 model.bin copy.bin
      After what is more urgent, and each request within a minute.";

/// Of `stats`.
pub const STATS: &str = "\
Example:
  dmabufload stats
      The pool, the calls, and the process of the registered service.";

/// Of `watch`.
pub const WATCH: &str = "\
Examples:
  dmabufload watch
      Every two seconds; (+N) is what has changed since the look before.
  dmabufload watch --seconds 10
      Every ten seconds.";

/// Of `bench`.
pub const BENCH: &str = "\
Examples:
  dmabufload bench model.bin
      Five loads by each path that works, each from the storage; the rate is that of the median.
  dmabufload bench --count 20 --warm --heap system model.bin
      Twenty loads into buffers of one heap, with what the page cache has.";

/// Of `completion`.
#[cfg(not(any(soong, target_os = "android")))]
pub const COMPLETION: &str = "\
Example:
  dmabufload completion bash > ~/.local/share/bash-completion/completions/dmabufload
      From the next shell on, TAB completes commands and options.";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use crate::args::Args;

    /// The command lines in a text of this module, up to where a shell takes over.
    fn command_lines(text: &str) -> Vec<Vec<String>> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("  dmabufload "));
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        lines.map(|line| words(line.split(['>', '|']).next().unwrap_or(line))).collect()
    }

    #[test]
    fn every_command_has_examples_that_the_tool_takes() {
        let mut tool = Args::command();
        tool.build();
        let subcommands = tool.get_subcommands().filter(|command| command.get_name() != "help");
        for command in subcommands.chain([&tool]) {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = command_lines(&text);
            assert!(!examples.is_empty(), "{}", command.get_name());
            for example in examples {
                let words = ["dmabufload".to_owned()].into_iter().chain(example.clone());
                if let Err(error) = Args::try_parse_from(words) {
                    panic!("{example:?}: {error}");
                }
                let named = command.get_name();
                assert!(named == "dmabufload" || example[0] == named, "{example:?}");
            }
        }
    }

    #[test]
    fn help_fits_a_terminal() {
        let mut tool = Args::command();
        tool.build();
        for command in tool.get_subcommands().chain([&tool]) {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let long = text.lines().find(|line| line.chars().count() > 100);
            assert_eq!(long, None);
        }
    }
}
