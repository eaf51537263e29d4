// SPDX-License-Identifier: Apache-2.0
//! The drawing: files, and arrows to the files that they import.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};

use petgraph::algo::{astar, tarjan_scc};
use petgraph::graphmap::DiGraphMap;

use crate::import::{imports, Import};
use crate::tree::Tree;

/// The imports between the files of a package.
#[derive(Debug)]
pub struct Drawing {
    /// For each pair of files the first place where one imports the other.
    arrows: BTreeMap<(PathBuf, PathBuf), Import>,
}

/// Files that import each other all around.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circle {
    /// Each file's import of the next, the last one's of the first.
    imports: Vec<Import>,
    /// All files that import each other by way of others, those of this circle among them.
    part: Vec<PathBuf>,
}

impl Drawing {
    /// Draws what the modules of a tree import.
    pub fn of(tree: &Tree) -> Self {
        let mut arrows = BTreeMap::new();
        for import in (0..tree.modules.len()).flat_map(|module| imports(tree, module)) {
            arrows.entry((import.from.clone(), import.to.clone())).or_insert(import);
        }
        Self { arrows }
    }

    /// A shortest circle in each part of the drawing that has one.
    pub fn circles(&self) -> Vec<Circle> {
        let graph: DiGraphMap<&Path, ()> =
            self.arrows.keys().map(|(from, to)| (from.as_path(), to.as_path(), ())).collect();
        let parts = tarjan_scc(&graph).into_iter().filter(|files| files.len() > 1);
        let mut circles: Vec<Circle> =
            parts.filter_map(|files| self.shortest_circle(&graph, &files)).collect();
        circles.sort_by(|one, other| one.files().cmp(other.files()));
        circles
    }

    fn shortest_circle(&self, graph: &DiGraphMap<&Path, ()>, part: &[&Path]) -> Option<Circle> {
        let mut part = part.to_vec();
        part.sort_unstable();
        let around = part.iter().flat_map(|&start| {
            graph.neighbors(start).filter_map(move |next| {
                let (_, path) = astar(graph, next, |file| file == start, |_| 1, |_| 0)?;
                Some([&[start], &path[..]].concat())
            })
        });
        let files = around.min_by_key(Vec::len)?;
        let import = |pair: &[&Path]| {
            self.arrows.get(&(pair[0].to_path_buf(), pair[1].to_path_buf())).cloned()
        };
        let part = part.iter().map(|file| file.to_path_buf()).collect();
        Some(Circle { imports: files.windows(2).filter_map(import).collect(), part })
    }

    /// The drawing in the language of Graphviz.
    pub fn dot(&self) -> String {
        let mut text = "digraph {\n    rankdir = LR;\n".to_owned();
        for (from, to) in self.arrows.keys() {
            let _ = writeln!(text, "    \"{}\" -> \"{}\";", from.display(), to.display());
        }
        text + "}\n"
    }
}

impl Circle {
    /// The files, in the order of the imports.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.imports.iter().map(|import| import.from.as_path())
    }
}

/// An import on each line.
impl fmt::Display for Drawing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.arrows.values().try_for_each(|import| writeln!(f, "{import}"))
    }
}

/// `a.rs -> b.rs -> a.rs`, the imports on lines of their own, and where more circles are.
impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in self.files() {
            write!(f, "{} -> ", file.display())?;
        }
        let first = self.files().next().unwrap_or(Path::new(""));
        write!(f, "{}", first.display())?;
        self.imports.iter().try_for_each(|import| write!(f, "\n    {import}"))?;
        if self.part.len() > self.imports.len() {
            let part: Vec<String> =
                self.part.iter().map(|file| file.display().to_string()).collect();
            write!(f, "\n    there are more circles among {}", part.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, line, path, to } = self;
        write!(f, "{} -> {}  ({path}, line {line})", from.display(), to.display())
    }
}
