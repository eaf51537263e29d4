// SPDX-License-Identifier: Apache-2.0
//! service_contexts: which SELinux context a service name has.
//!
//! A line is `NAME CONTEXT`. A name matches as a whole; `*` stands for every name that no other
//! line gives.

use std::collections::HashMap;

use anyhow::{Context, Result};

const FILES: [&str; 2] =
    ["/system/etc/selinux/plat_service_contexts", "/vendor/etc/selinux/vendor_service_contexts"];

/// A line that is not an entry, or that gives a name a second context.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {reason}")]
pub struct BadEntry {
    file: String,
    line: usize,
    reason: String,
}

/// Contexts by name.
#[derive(Debug, Default)]
pub struct ServiceContexts {
    by_name: HashMap<String, String>,
}

impl ServiceContexts {
    /// Adds the entries of one file.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), BadEntry> {
        for (index, line) in text.lines().enumerate() {
            let error =
                |reason: String| BadEntry { file: file.to_owned(), line: index + 1, reason };
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                [] => {}
                [name, context] => {
                    let old = self.by_name.insert(name.to_owned(), context.to_owned());
                    if old.is_some_and(|old| old != context) {
                        return Err(error(format!("'{name}' already has another context")));
                    }
                }
                _ => return Err(error(format!("not an entry: '{line}'"))),
            }
        }
        Ok(())
    }

    /// The context of a service name.
    pub fn lookup(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).or_else(|| self.by_name.get("*")).map(String::as_str)
    }
}

/// Reads the platform's and the vendor's service_contexts.
pub fn load() -> Result<ServiceContexts> {
    let mut contexts = ServiceContexts::default();
    for file in FILES {
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
        contexts.add(file, &text)?;
    }
    Ok(contexts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_then_the_default() {
        let mut contexts = ServiceContexts::default();
        contexts
            .add("plat", "# comment\nmanager u:object_r:a:s0 # tail\n* u:object_r:default:s0\n")
            .unwrap();
        contexts.add("vendor", "vendor.x.IFoo/default\tu:object_r:foo:s0\n").unwrap();
        assert_eq!(contexts.lookup("manager"), Some("u:object_r:a:s0"));
        assert_eq!(contexts.lookup("vendor.x.IFoo/default"), Some("u:object_r:foo:s0"));
        for other in ["vendor.x.IFoo/default2", "vendor.x.IFoo", "manage", ""] {
            assert_eq!(contexts.lookup(other), Some("u:object_r:default:s0"), "{other}");
        }
    }

    #[test]
    fn no_default_means_no_context() {
        let mut contexts = ServiceContexts::default();
        contexts.add("f", "a u:object_r:a:s0\n").unwrap();
        assert_eq!(contexts.lookup("b"), None);
    }

    #[test]
    fn errors_name_the_line() {
        let mut contexts = ServiceContexts::default();
        let error = contexts.add("f", "a u:object_r:a:s0\na\n").unwrap_err();
        assert_eq!(error.to_string(), "f:2: not an entry: 'a'");
        let error = contexts.add("g", "a u:object_r:b:s0\n").unwrap_err();
        assert_eq!(error.to_string(), "g:1: 'a' already has another context");
    }
}
