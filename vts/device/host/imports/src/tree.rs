// SPDX-License-Identifier: Apache-2.0
//! The modules of a package: the files they are in, and the names they have.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use syn::{Attribute, Item, Visibility};

use crate::cfg_test::is_test_only;
use crate::scope::Scope;
use crate::use_leaf::leaves;

/// Index of a module in its [`Tree`].
pub type ModuleId = usize;

/// A module, in a file of its own or inside another's.
#[derive(Debug)]
pub struct Module {
    /// The file it is written in.
    pub file: PathBuf,
    /// The module around it; none for the root of a crate.
    pub parent: Option<ModuleId>,
    /// The root of its crate.
    pub root: ModuleId,
    /// Modules declared in it, by name.
    pub children: HashMap<String, ModuleId>,
    /// Other items, by name, with the module that defines them: itself, or the one from which
    /// `#[macro_export]` brings a macro to the root.
    pub items: HashMap<String, ModuleId>,
    /// Macros that its children know by their bare names.
    pub macros: BTreeSet<String>,
    /// Names brought in by `use`.
    pub scope: Scope,
    /// Its items, without those for tests.
    pub content: Vec<Item>,
}

/// The modules of a package's crates.
#[derive(Debug, Default)]
pub struct Tree {
    /// All of them.
    pub modules: Vec<Module>,
    /// The roots of libraries, by the names that other crates call them.
    pub libraries: HashMap<String, ModuleId>,
}

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A module of the package.
    Module(ModuleId),
    /// An item that this module defines.
    Item(ModuleId),
    /// Something of another package.
    External,
}

/// Gives the text of a file; `None` if there is no such file.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> Option<String>;

impl Tree {
    /// Adds the crate whose root module is in this file.
    pub fn add_crate(&mut self, root: &Path, read: ReadFile<'_>) -> Result<ModuleId> {
        let dir = root.parent().unwrap_or(Path::new("")).to_path_buf();
        self.add_file(root.to_path_buf(), dir, None, read)
    }

    fn add_file(
        &mut self,
        file: PathBuf,
        children_dir: PathBuf,
        parent: Option<ModuleId>,
        read: ReadFile<'_>,
    ) -> Result<ModuleId> {
        let text = read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let parsed =
            syn::parse_file(&text).with_context(|| format!("cannot parse {}", file.display()))?;
        self.add_module(file, children_dir, parent, parsed.items, read)
    }

    fn add_module(
        &mut self,
        file: PathBuf,
        children_dir: PathBuf,
        parent: Option<ModuleId>,
        items: Vec<Item>,
        read: ReadFile<'_>,
    ) -> Result<ModuleId> {
        let id = self.modules.len();
        let root = parent.map_or(id, |parent| self.modules[parent].root);
        self.modules.push(Module {
            file: file.clone(),
            parent,
            root,
            children: HashMap::new(),
            items: HashMap::new(),
            macros: BTreeSet::new(),
            scope: Scope::default(),
            content: Vec::new(),
        });
        for item in items {
            if attributes(&item).is_some_and(is_test_only) {
                continue;
            }
            match item {
                Item::Mod(module) => {
                    let name = module.ident.to_string();
                    let child = match module.content {
                        Some((_, items)) => {
                            let dir = children_dir.join(&name);
                            self.add_module(file.clone(), dir, Some(id), items, read)?
                        }
                        None => {
                            let (path, dir) =
                                module_file(&file, &children_dir, &name, &module.attrs, read)?;
                            self.add_file(path, dir, Some(id), read)?
                        }
                    };
                    self.modules[id].children.insert(name, child);
                }
                item => self.add_item(id, item),
            }
        }
        Ok(id)
    }

    fn add_item(&mut self, id: ModuleId, item: Item) {
        let root = self.modules[id].root;
        let module = &mut self.modules[id];
        match &item {
            Item::Use(declaration) => module.scope.add(&leaves(declaration)),
            Item::Macro(definition) => {
                if let Some(name) = &definition.ident {
                    module.items.insert(name.to_string(), id);
                    module.macros.insert(name.to_string());
                    if definition.attrs.iter().any(|a| a.path().is_ident("macro_export")) {
                        self.modules[root].items.insert(name.to_string(), id);
                    }
                }
            }
            _ => {
                if let Some(name) = item_name(&item) {
                    module.items.insert(name, id);
                }
            }
        }
        self.modules[id].content.push(item);
    }

    /// What a path names for the code of module `from`.
    pub fn resolve(&self, from: ModuleId, path: &[String]) -> Option<Target> {
        self.resolve_path(from, path, false, &mut Vec::new())
    }

    /// The macro that code of module `from` calls by a bare name because a module around it has it.
    pub fn textual_macro(&self, from: ModuleId, name: &str) -> Option<ModuleId> {
        std::iter::successors(Some(from), |id| self.modules[*id].parent)
            .find(|id| self.modules[*id].macros.contains(name))
    }

    /// Resolves a path whose last name is a module rather than an item if `wants_module`; `pending`
    /// holds the names that are being looked up, of which globs may make a circle.
    fn resolve_path<'a>(
        &'a self,
        from: ModuleId,
        path: &'a [String],
        wants_module: bool,
        pending: &mut Vec<(ModuleId, &'a str)>,
    ) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        let mut target = match first.as_str() {
            "crate" => Target::Module(self.modules[from].root),
            "self" => Target::Module(from),
            "super" => Target::Module(self.modules[from].parent?),
            name => match self.look_up(from, name, wants_module || !rest.is_empty(), pending) {
                Some(target) => target,
                None => Target::Module(*self.libraries.get(name)?),
            },
        };
        for (index, name) in rest.iter().enumerate() {
            let Target::Module(module) = target else { return Some(target) };
            let wants_module = wants_module || index + 1 < rest.len();
            target = match name.as_str() {
                "self" => target,
                "super" => Target::Module(self.modules[module].parent?),
                name => self
                    .look_up(module, name, wants_module, pending)
                    // The compiler has found it, so a macro of that module defines it.
                    .unwrap_or(Target::Item(module)),
            };
        }
        Some(target)
    }

    /// What a name means in a module.
    fn look_up<'a>(
        &'a self,
        id: ModuleId,
        name: &'a str,
        wants_module: bool,
        pending: &mut Vec<(ModuleId, &'a str)>,
    ) -> Option<Target> {
        if pending.contains(&(id, name)) {
            return None;
        }
        let module = &self.modules[id];
        let child = module.children.get(name).map(|child| Target::Module(*child));
        let item = module.items.get(name).map(|definer| Target::Item(*definer));
        let own = if wants_module { child.or(item) } else { item.or(child) };
        if own.is_some() {
            return own;
        }
        pending.push((id, name));
        let found = match module.scope.names.get(name) {
            Some(path) => {
                let target = self.resolve_path(id, path, wants_module, pending);
                Some(target.unwrap_or(Target::External))
            }
            None => module.scope.globs.iter().find_map(|path| {
                match self.resolve_path(id, path, true, pending)? {
                    Target::Module(all_of) => self.look_up(all_of, name, wants_module, pending),
                    Target::Item(_) | Target::External => None,
                }
            }),
        };
        pending.pop();
        found
    }
}

/// Whether a `use` gives its names to others.
pub fn is_reexport(visibility: &Visibility) -> bool {
    !matches!(visibility, Visibility::Inherited)
}

/// The file of a module declared in `file`, and the directory of the modules that it declares.
fn module_file(
    file: &Path,
    children_dir: &Path,
    name: &str,
    attributes: &[Attribute],
    read: ReadFile<'_>,
) -> Result<(PathBuf, PathBuf)> {
    let path_attribute = attributes.iter().find_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(path), .. }) => Some(path.value()),
            _ => None,
        },
        _ => None,
    });
    if let Some(path) = path_attribute {
        let path = file.parent().unwrap_or(Path::new("")).join(path);
        let dir = path.parent().unwrap_or(Path::new("")).to_path_buf();
        return Ok((path, dir));
    }
    let dir = children_dir.join(name);
    for path in [children_dir.join(format!("{name}.rs")), dir.join("mod.rs")] {
        if read(&path).is_some() {
            return Ok((path, dir));
        }
    }
    bail!("{} declares module {name}, which has no file", file.display())
}

/// The name that an item gives to its module.
fn item_name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

/// The attributes of an item.
pub fn attributes(item: &Item) -> Option<&[Attribute]> {
    Some(match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => return None,
    })
}
