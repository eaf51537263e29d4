// SPDX-License-Identifier: Apache-2.0
//! Finds what the code of a module names.

use std::path::PathBuf;

use proc_macro2::{Span, TokenStream};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta};

use crate::cfg_test::is_test_only;
use crate::scope::Scope;
use crate::token_path::{self, TokenPath};
use crate::tree::{attributes, is_reexport, ModuleId, Target, Tree};
use crate::use_leaf::{leaves, Name, UseLeaf};

/// A place where a file names what another file defines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The file that names it.
    pub from: PathBuf,
    /// Line of the name, from 1.
    pub line: usize,
    /// What stands there.
    pub path: String,
    /// The file that defines it.
    pub to: PathBuf,
}

/// The imports of one module.
pub fn imports(tree: &Tree, module: ModuleId) -> Vec<Import> {
    let mut walk = Walk { tree, module, blocks: Vec::new(), found: Vec::new() };
    for item in &tree.modules[module].content {
        walk.visit_item(item);
    }
    walk.found
}

struct Walk<'a> {
    tree: &'a Tree,
    module: ModuleId,
    /// Names that the blocks around the current place bring in, the innermost last.
    blocks: Vec<Scope>,
    found: Vec<Import>,
}

impl Walk<'_> {
    fn add(&mut self, definer: ModuleId, path: &[String], line: usize) {
        let file = |id: ModuleId| self.tree.modules[id].file.clone();
        let (from, to) = (file(self.module), file(definer));
        if from != to {
            self.found.push(Import { from, line, path: path.join("::"), to });
        }
    }

    /// Takes a path that stands in code.
    fn path(&mut self, path: &[String], line: usize) {
        if let Some(Target::Item(definer)) = self.resolve(path) {
            self.add(definer, path, line);
        }
    }

    /// What a path names here: names of blocks first, then those of the module, then globs of
    /// blocks.
    fn resolve(&self, path: &[String]) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        let block_name = self.blocks.iter().rev().find_map(|scope| scope.names.get(first));
        if let Some(start) = block_name {
            return self.tree.resolve(self.module, &[start, rest].concat());
        }
        self.tree.resolve(self.module, path).or_else(|| {
            let mut globs = self.blocks.iter().rev().flat_map(|scope| &scope.globs);
            globs.find_map(|glob| match self.tree.resolve(self.module, glob)? {
                Target::Module(_) => self.tree.resolve(self.module, &[glob, path].concat()),
                Target::Item(_) | Target::External => None,
            })
        })
    }

    /// Takes a `use` declaration that gives its names to nobody else.
    fn private_use(&mut self, leaf: &UseLeaf) {
        match (self.tree.resolve(self.module, &leaf.path), &leaf.name) {
            (Some(Target::Item(definer)), _) | (Some(Target::Module(definer)), Name::All) => {
                self.add(definer, &leaf.path, leaf.line);
            }
            _ => {}
        }
    }

    /// Takes what a macro or an attribute is given.
    fn tokens(&mut self, tokens: &TokenStream) {
        for TokenPath { names, line, is_macro } in token_path::paths(tokens.clone()) {
            if is_macro {
                self.macro_path(&names, line);
            } else {
                self.path(&names, line);
            }
        }
    }

    fn macro_path(&mut self, path: &[String], line: usize) {
        match (self.resolve(path), path) {
            (None, [name]) => {
                if let Some(definer) = self.tree.textual_macro(self.module, name) {
                    self.add(definer, path, line);
                }
            }
            _ => self.path(path, line),
        }
    }
}

fn names(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

fn line(path: &syn::Path) -> usize {
    path.segments.first().map_or_else(Span::call_site, |first| first.ident.span()).start().line
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !attributes(item).is_some_and(is_test_only) {
            visit::visit_item(self, item);
        }
    }

    // A module of the tree, with imports of its own.
    fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {}

    fn visit_item_use(&mut self, declaration: &'ast syn::ItemUse) {
        if !is_reexport(&declaration.vis) {
            leaves(declaration).iter().for_each(|leaf| self.private_use(leaf));
        }
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let attributes = match item {
            syn::ImplItem::Const(item) => &item.attrs,
            syn::ImplItem::Fn(item) => &item.attrs,
            syn::ImplItem::Type(item) => &item.attrs,
            syn::ImplItem::Macro(item) => &item.attrs,
            _ => return visit::visit_impl_item(self, item),
        };
        if !is_test_only(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !is_test_only(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        if !is_test_only(&variant.attrs) {
            visit::visit_variant(self, variant);
        }
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if !is_test_only(&local.attrs) {
            visit::visit_local(self, local);
        }
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        let mut scope = Scope::default();
        for statement in &block.stmts {
            if let syn::Stmt::Item(Item::Use(declaration)) = statement {
                scope.add(&leaves(declaration));
            }
        }
        self.blocks.push(scope);
        visit::visit_block(self, block);
        self.blocks.pop();
    }

    // Says who may see an item, and imports nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        // A path with a leading `::` begins with the name of another crate.
        if path.leading_colon.is_none() {
            self.path(&names(path), line(path));
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.macro_path(&names(&call.path), line(&call.path));
        self.tokens(&call.tokens);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.tokens(&list.tokens);
        }
    }
}
