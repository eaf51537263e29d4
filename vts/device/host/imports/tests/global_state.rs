// SPDX-License-Identifier: Apache-2.0
//! The engine keeps its state in its objects: two engines in one process share nothing.

use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{ItemStatic, Macro};

/// The names of statics, and of `thread_local!`, in a file.
#[derive(Default)]
struct Globals(Vec<String>);

impl<'ast> Visit<'ast> for Globals {
    fn visit_item_static(&mut self, item: &'ast ItemStatic) {
        self.0.push(format!("static {}", item.ident));
        visit::visit_item_static(self, item);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        if call.path.segments.last().is_some_and(|last| last.ident == "thread_local") {
            self.0.push("thread_local!".to_owned());
        }
        visit::visit_macro(self, call);
    }
}

fn globals_of(source: &str) -> Vec<String> {
    let mut globals = Globals::default();
    globals.visit_file(&syn::parse_file(source).unwrap());
    globals.0
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let (dirs, files): (Vec<PathBuf>, Vec<PathBuf>) = paths.partition(|path| path.is_dir());
    let is_rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    let below = dirs.iter().flat_map(|dir| rust_files(dir));
    files.into_iter().filter(is_rust).chain(below).collect()
}

#[test]
fn the_engine_has_no_global_state() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../service/engine/src");
    let files = rust_files(&sources);
    assert!(files.len() > 40, "{} files", files.len());
    for file in files {
        let found = globals_of(&std::fs::read_to_string(&file).unwrap());
        assert!(found.is_empty(), "{}: {found:?}", file.display());
    }
}

#[test]
fn globals_are_found_wherever_they_are() {
    let source = "fn f() { static A: std::sync::OnceLock<u8> = std::sync::OnceLock::new(); }
        std::thread_local! { static B: u8 = 0; } static mut C: u8 = 0; const D: u8 = 0;";
    assert_eq!(globals_of(source), ["static A", "thread_local!", "static C"]);
}
