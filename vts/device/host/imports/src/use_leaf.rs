// SPDX-License-Identifier: Apache-2.0
//! The names that one `use` declaration brings in.

use syn::{ItemUse, UseTree};

/// One name, or all names of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseLeaf {
    /// What is imported; for [`Name::All`] the module.
    pub path: Vec<String>,
    /// What it is called here.
    pub name: Name,
    /// Line of the name, from 1.
    pub line: usize,
}

/// What an import is called where it is imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// This.
    One(String),
    /// As each item of the module is.
    All,
}

/// What a path with a leading `::` begins with here: the name of no module.
const ANOTHER_CRATE: &str = "";

/// The leaves of a declaration.
pub fn leaves(declaration: &ItemUse) -> Vec<UseLeaf> {
    let prefix = declaration.leading_colon.map(|_| ANOTHER_CRATE.to_owned());
    let mut found = Vec::new();
    add_leaves(&declaration.tree, prefix.as_slice(), &mut found);
    found
}

fn add_leaves(tree: &UseTree, prefix: &[String], found: &mut Vec<UseLeaf>) {
    let with = |ident: &syn::Ident| [prefix, &[ident.to_string()]].concat();
    let line = |ident: &syn::Ident| ident.span().start().line;
    match tree {
        UseTree::Path(path) => add_leaves(&path.tree, &with(&path.ident), found),
        UseTree::Group(group) => {
            group.items.iter().for_each(|tree| add_leaves(tree, prefix, found));
        }
        UseTree::Glob(glob) => {
            let line = glob.star_token.spans[0].start().line;
            found.push(UseLeaf { path: prefix.to_vec(), name: Name::All, line });
        }
        UseTree::Name(name) if name.ident == "self" => {
            if let Some(last) = prefix.last() {
                let name_here = Name::One(last.clone());
                let line = line(&name.ident);
                found.push(UseLeaf { path: prefix.to_vec(), name: name_here, line });
            }
        }
        UseTree::Name(name) => found.push(UseLeaf {
            path: with(&name.ident),
            name: Name::One(name.ident.to_string()),
            line: line(&name.ident),
        }),
        UseTree::Rename(rename) => {
            let is_self = rename.ident == "self";
            found.push(UseLeaf {
                path: if is_self { prefix.to_vec() } else { with(&rename.ident) },
                name: Name::One(rename.rename.to_string()),
                line: line(&rename.rename),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn each_leaf_has_its_path_and_name() {
        let declaration = parse_quote!(
            use crate::{
                a::{self, B, c as d},
                e::*,
                f::g::{self as h},
            };
        );
        let shown: Vec<String> = leaves(&declaration)
            .into_iter()
            .map(|leaf| match leaf.name {
                Name::One(name) => format!("{} as {name}", leaf.path.join("::")),
                Name::All => format!("{}::*", leaf.path.join("::")),
            })
            .collect();
        assert_eq!(
            shown,
            [
                "crate::a as a",
                "crate::a::B as B",
                "crate::a::c as d",
                "crate::e::*",
                "crate::f::g as h"
            ]
        );
    }
}
