// SPDX-License-Identifier: Apache-2.0
//! The names that `use` declarations bring into a module or a block.

use std::collections::HashMap;

use crate::use_leaf::{Name, UseLeaf};

/// Names, with the paths that they stand for.
#[derive(Debug, Default)]
pub struct Scope {
    /// Single names.
    pub names: HashMap<String, Vec<String>>,
    /// Modules all of whose names are here.
    pub globs: Vec<Vec<String>>,
}

impl Scope {
    /// Adds what a declaration brings in.
    pub fn add(&mut self, leaves: &[UseLeaf]) {
        for leaf in leaves {
            match &leaf.name {
                Name::One(name) if name == "_" => {}
                Name::One(name) => {
                    self.names.insert(name.clone(), leaf.path.clone());
                }
                Name::All => self.globs.push(leaf.path.clone()),
            }
        }
    }
}
