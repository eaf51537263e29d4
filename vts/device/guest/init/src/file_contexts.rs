// SPDX-License-Identifier: Apache-2.0
//! file_contexts: which SELinux context a path is given.
//!
//! An entry is `REGEX [-TYPE] CONTEXT`; the expression is anchored at both ends. As in libselinux,
//! entries without a metacharacter are preferred to those with one, and among entries of the same
//! kind the last one read holds; the context `<<none>>` says that the path has none.

use regex::Regex;

use crate::words::SyntaxError;

/// The kinds of file an entry can be limited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `--`
    Regular,
    /// `-d`
    Directory,
    /// `-c`
    Character,
    /// `-b`
    Block,
    /// `-l`
    Symlink,
    /// `-p`
    Fifo,
    /// `-s`
    Socket,
}

impl Kind {
    fn from_flag(flag: &str) -> Option<Self> {
        Some(match flag {
            "--" => Self::Regular,
            "-d" => Self::Directory,
            "-c" => Self::Character,
            "-b" => Self::Block,
            "-l" => Self::Symlink,
            "-p" => Self::Fifo,
            "-s" => Self::Socket,
            _ => return None,
        })
    }
}

impl From<std::fs::FileType> for Kind {
    fn from(file_type: std::fs::FileType) -> Self {
        use std::os::unix::fs::FileTypeExt;
        if file_type.is_dir() {
            Self::Directory
        } else if file_type.is_symlink() {
            Self::Symlink
        } else if file_type.is_char_device() {
            Self::Character
        } else if file_type.is_block_device() {
            Self::Block
        } else if file_type.is_fifo() {
            Self::Fifo
        } else if file_type.is_socket() {
            Self::Socket
        } else {
            Self::Regular
        }
    }
}

#[derive(Debug)]
struct Entry {
    /// What every matching path starts with.
    stem: String,
    /// None if the stem is the whole expression.
    regex: Option<Regex>,
    kind: Option<Kind>,
    context: Option<String>,
}

impl Entry {
    fn matches(&self, path: &str, kind: Kind) -> bool {
        if self.kind.is_some_and(|wanted| wanted != kind) {
            return false;
        }
        match &self.regex {
            None => self.stem == path,
            Some(regex) => path.starts_with(&self.stem) && regex.is_match(path),
        }
    }
}

/// The entries of all files read.
#[derive(Debug, Default)]
pub struct FileContexts {
    entries: Vec<Entry>,
}

impl FileContexts {
    /// Adds the entries of one file; add the platform's before the vendor's.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), SyntaxError> {
        for (index, line) in text.lines().enumerate() {
            let error =
                |reason: String| SyntaxError { file: file.to_owned(), line: index + 1, reason };
            let words: Vec<&str> = line.split_whitespace().collect();
            let (expression, kind, context) = match words[..] {
                [] => continue,
                [first, ..] if first.starts_with('#') => continue,
                [expression, context] => (expression, None, context),
                [expression, flag, context] => {
                    let kind = Kind::from_flag(flag)
                        .ok_or_else(|| error(format!("bad file type '{flag}'")))?;
                    (expression, Some(kind), context)
                }
                _ => return Err(error(format!("not an entry: '{line}'"))),
            };
            let (stem, exact) = stem(expression);
            let regex = if exact {
                None
            } else {
                let regex = Regex::new(&format!("^(?:{expression})$"))
                    .map_err(|e| error(e.to_string().replace('\n', " ")))?;
                Some(regex)
            };
            self.entries.push(Entry {
                stem,
                regex,
                kind,
                context: (context != "<<none>>").then(|| context.to_owned()),
            });
        }
        Ok(())
    }

    /// The context for `path`, if an entry gives it one.
    pub fn lookup(&self, path: &str, kind: Kind) -> Option<&str> {
        let last = |exact: bool| {
            self.entries
                .iter()
                .rev()
                .find(|entry| entry.regex.is_none() == exact && entry.matches(path, kind))
        };
        last(true).or_else(|| last(false))?.context.as_deref()
    }
}

/// Splits off what every match of `expression` must start with; true if that is all of it.
fn stem(expression: &str) -> (String, bool) {
    let mut stem = String::new();
    let mut chars = expression.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped) if !escaped.is_ascii_alphanumeric() => stem.push(escaped),
                _ => return (stem, false),
            },
            '?' | '*' | '{' => {
                stem.pop();
                return (stem, false);
            }
            // A branch at the top level leaves nothing in common that is sure.
            '|' => return (String::new(), false),
            '.' | '+' | '[' | '(' | '^' | '$' => {
                if expression.contains('|') && !inside_parentheses(expression) {
                    return (String::new(), false);
                }
                return (stem, false);
            }
            c => stem.push(c),
        }
    }
    (stem, true)
}

/// Whether every `|` of the expression stands inside parentheses.
fn inside_parentheses(expression: &str) -> bool {
    let mut depth = 0usize;
    for c in expression.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => return false,
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLATFORM: &str = "\
# The root
/                       u:object_r:rootfs:s0
/dev(/.*)?              u:object_r:device:s0
/dev/console            u:object_r:console_device:s0
/dev/block(/.*)?        u:object_r:block_device:s0
/dev/dma_heap(/.*)?     u:object_r:dmabuf_heap_device:s0
/dev/dma_heap/system\tu:object_r:dmabuf_system_heap_device:s0
/dev/tty[0-9]* -c       u:object_r:tty_device:s0
/data(/.*)?             u:object_r:system_data_file:s0
/data/local/tmp(/.*)?   u:object_r:shell_data_file:s0
/data/nothing           <<none>>
/system/bin/init        u:object_r:init_exec:s0
/system(/.*)?           u:object_r:system_file:s0
";
    const VENDOR: &str = "\
/(vendor|system/vendor)(/.*)?  u:object_r:vendor_file:s0
/(vendor|system/vendor)/bin/hw/vendor\\.dmabuf\\.loader-service -- u:object_r:hal_exec:s0
/data/vendor/dmabuf_loader(/.*)?  u:object_r:vendor_dmabuf_loader_data_file:s0
/dev/udmabuf  u:object_r:vendor_udmabuf_device:s0
";

    fn contexts() -> FileContexts {
        let mut contexts = FileContexts::default();
        contexts.add("plat", PLATFORM).unwrap();
        contexts.add("vendor", VENDOR).unwrap();
        contexts
    }

    fn type_of(path: &str, kind: Kind) -> Option<String> {
        let contexts = contexts();
        contexts.lookup(path, kind).map(|c| c.split(':').nth(2).unwrap().to_owned())
    }

    #[test]
    fn lookups() {
        use Kind::{Block, Character, Directory, Regular};
        for (path, kind, expected) in [
            ("/", Directory, "rootfs"),
            ("/dev", Directory, "device"),
            ("/dev/null", Character, "device"),
            ("/dev/console", Character, "console_device"),
            ("/dev/block/vda", Block, "block_device"),
            ("/dev/dma_heap/system", Character, "dmabuf_system_heap_device"),
            ("/dev/dma_heap/system-uncached", Character, "dmabuf_heap_device"),
            ("/dev/tty1", Character, "tty_device"),
            ("/dev/tty1", Directory, "device"),
            ("/dev/udmabuf", Character, "vendor_udmabuf_device"),
            ("/data/local/tmp/a/b", Regular, "shell_data_file"),
            ("/data/local/tmpx", Regular, "system_data_file"),
            ("/data/vendor/dmabuf_loader", Directory, "vendor_dmabuf_loader_data_file"),
            ("/vendor/bin/hw/vendor.dmabuf.loader-service", Regular, "hal_exec"),
            ("/vendor/bin/hw/vendor_dmabuf.loader-service", Regular, "vendor_file"),
            // A plain path beats an expression that was read later.
            ("/system/bin/init", Regular, "init_exec"),
            ("/system/bin/sh", Regular, "system_file"),
        ] {
            assert_eq!(type_of(path, kind).as_deref(), Some(expected), "{path}");
        }
        assert_eq!(type_of("/nowhere", Regular), None);
        assert_eq!(type_of("/data/nothing", Regular), None);
    }

    #[test]
    fn stems() {
        for (expression, expected, exact) in [
            ("/dev/null", "/dev/null", true),
            ("/dev(/.*)?", "/dev", false),
            ("/dev/ab*", "/dev/a", false),
            ("/a\\.b", "/a.b", true),
            ("/a\\d", "/a", false),
            ("/a(b|c)", "/a", false),
            ("/a|/b", "", false),
            ("/a[0-9]|/b", "", false),
            ("/a(x)?|/b", "", false),
        ] {
            assert_eq!(stem(expression), (expected.to_owned(), exact), "{expression}");
        }
    }

    #[test]
    fn errors_name_the_line() {
        let mut contexts = FileContexts::default();
        for (text, expected) in [
            ("# x\n/dev -z u:object_r:a:s0", "f:2: bad file type '-z'"),
            ("/dev", "f:1: not an entry: '/dev'"),
            ("/a b c d", "f:1: not an entry: '/a b c d'"),
        ] {
            assert_eq!(contexts.add("f", text).unwrap_err().to_string(), expected);
        }
        assert!(contexts.add("f", "/a(b u:object_r:a:s0").unwrap_err().reason.contains("("));
    }
}
