// SPDX-License-Identifier: Apache-2.0
//! The Rust declarations that `aidl --lang=rust` makes, for a type check: names, types and
//! signatures, without the code that sends and receives.

use std::fmt::Write as _;
use std::ops::Deref;

use anyhow::{bail, ensure, Context, Result};

use super::model::{Declaration, Expression, File, Kind, MemberKind, Type};

/// A file, and what its names refer to.
struct Scope<'f> {
    file: &'f File,
    files: &'f [File],
}

impl Deref for Scope<'_> {
    type Target = File;

    fn deref(&self) -> &File {
        self.file
    }
}

impl Scope<'_> {
    /// What a type of the package is.
    fn kind(&self, name: &str) -> Option<Kind> {
        let found = self.files.iter().find(|file| file.declaration.name == name);
        found.map(|file| file.declaration.kind)
    }
}

/// The crate of an interface whose types are all in one package.
///
/// # Errors
/// What the generator does not cover: types of another package, arguments that are arrays.
pub fn generate(files: &[File]) -> Result<String> {
    let package = &files.first().context("no .aidl file")?.package;
    let mut text =
        String::from("#![allow(missing_docs, non_snake_case, non_upper_case_globals)]\n");
    text.push_str("pub mod aidl {\n");
    let modules: Vec<&str> = package.split('.').collect();
    for module in &modules {
        writeln!(text, "pub mod {module} {{")?;
    }
    for file in files.iter().map(|file| Scope { file, files }) {
        let file = &file;
        ensure!(file.package == *package, "{} is not in {package}", file.declaration.name);
        let name = &file.declaration.name;
        writeln!(text, "pub mod {name} {{")?;
        constants(&mut text, file)?;
        match file.declaration.kind {
            Kind::Enum => enumeration(&mut text, &file.declaration)?,
            Kind::Parcelable => parcelable(&mut text, file)?,
            Kind::Union => union(&mut text, file)?,
            Kind::Interface => interface(&mut text, file)?,
        }
        text.push_str("}\n");
    }
    text.push_str(&"}\n".repeat(modules.len() + 1));
    Ok(text)
}

fn constants(text: &mut String, file: &Scope<'_>) -> Result<()> {
    for member in &file.declaration.members {
        if let MemberKind::Constant(r#type, value) = &member.kind {
            let (r#type, value) = (rust_type(file, r#type)?, rust_value(value));
            writeln!(text, "pub const {}: {type} = {value};", member.name)?;
        }
    }
    Ok(())
}

fn enumeration(text: &mut String, declaration: &Declaration) -> Result<()> {
    let backing = declaration.annotations.iter().find(|own| own.starts_with("@Backing"));
    let backing = match backing.map(String::as_str) {
        Some("@Backing(type=\"int\")") => "i32",
        Some("@Backing(type=\"long\")") => "i64",
        Some("@Backing(type=\"byte\")") | None => "i8",
        Some(other) => bail!("{}: unknown {other}", declaration.name),
    };
    let name = &declaration.name;
    text.push_str("#[derive(Debug, Default, Copy, Clone, PartialOrd, Ord, PartialEq, Eq, Hash)]\n");
    writeln!(text, "pub struct {name}(pub {backing});\nimpl {name} {{")?;
    let mut all = Vec::new();
    for member in &declaration.members {
        let MemberKind::Enumerator(Some(value)) = &member.kind else {
            bail!("{name}.{} has no value", member.name)
        };
        writeln!(text, "pub const {}: Self = Self({});", member.name, rust_value(value))?;
        all.push(format!("Self::{}", member.name));
    }
    let (count, all) = (all.len(), all.join(", "));
    writeln!(text, "pub const fn enum_values() -> [Self; {count}] {{ [{all}] }}\n}}")?;
    Ok(())
}

fn parcelable(text: &mut String, file: &Scope<'_>) -> Result<()> {
    let name = &file.declaration.name;
    let mut defaults = String::new();
    writeln!(text, "#[derive(Debug)]\npub struct {name} {{")?;
    for member in &file.declaration.members {
        let MemberKind::Field(r#type, value) = &member.kind else { continue };
        writeln!(text, "pub {}: {},", member.name, field_type(file, r#type)?)?;
        let value = match value {
            None => "Default::default()".to_owned(),
            Some(Expression::Reference(reference)) => match reference.rsplit_once('.') {
                Some((of_enum, value)) => format!("super::{of_enum}::{of_enum}::{value}"),
                None => reference.clone(),
            },
            Some(value) => rust_value(value),
        };
        writeln!(defaults, "{}: {value},", member.name)?;
    }
    text.push_str("}\n");
    writeln!(
        text,
        "impl Default for {name} {{ fn default() -> Self {{ Self {{\n{defaults}}} }} }}"
    )?;
    Ok(())
}

fn union(text: &mut String, file: &Scope<'_>) -> Result<()> {
    let name = &file.declaration.name;
    let mut first = None;
    writeln!(text, "#[derive(Debug)]\npub enum {name} {{")?;
    for member in &file.declaration.members {
        let MemberKind::Field(r#type, _) = &member.kind else { continue };
        let (initial, rest) = member.name.split_at(1);
        let variant = initial.to_uppercase() + rest;
        writeln!(text, "{variant}({}),", field_type(file, r#type)?)?;
        first.get_or_insert(variant);
    }
    let first = first.with_context(|| format!("{name} has no field"))?;
    let default = format!("Self::{first}(Default::default())");
    writeln!(text, "}}\nimpl Default for {name} {{ fn default() -> Self {{ {default} }} }}")?;
    Ok(())
}

fn interface(text: &mut String, file: &Scope<'_>) -> Result<()> {
    let name = &file.declaration.name;
    let base = name.strip_prefix('I').context("an interface's name begins with I")?;
    writeln!(text, "pub trait {name}: binder::Interface + Send {{")?;
    writeln!(
        text,
        "fn get_descriptor() -> &'static str where Self: Sized {{ \"{}.{name}\" }}",
        file.package
    )?;
    for member in &file.declaration.members {
        let MemberKind::Method { returns, arguments, .. } = &member.kind else { continue };
        let mut signature = String::from("&self");
        for argument in arguments {
            let r#type = argument_type(file, &argument.r#type)
                .with_context(|| format!("{}: argument {}", member.name, argument.name))?;
            write!(signature, ", _arg_{}: {type}", argument.name)?;
        }
        let returns = match returns.name.as_str() {
            "void" => "()".to_owned(),
            _ => rust_type(file, returns)?,
        };
        writeln!(text, "fn {}({signature}) -> binder::Result<{returns}>;", member.name)?;
    }
    text.push_str("fn getInterfaceVersion(&self) -> binder::Result<i32> { Ok(1) }\n");
    text.push_str(
        "fn getInterfaceHash(&self) -> binder::Result<String> { Ok(String::new()) }\n}\n",
    );
    writeln!(text, "binder::declare_binder_interface! {{ {name}, Bn{base}, Bp{base} }}")?;
    Ok(())
}

/// The type of an `in` argument.
fn argument_type(file: &Scope<'_>, r#type: &Type) -> Result<String> {
    ensure!(!r#type.is_array, "is an array");
    let plain = Type { annotations: Vec::new(), ..r#type.clone() };
    let name = match (r#type.name.as_str(), file.kind(&r#type.name)) {
        ("String", _) => "&str".to_owned(),
        (_, Some(Kind::Enum) | None) => rust_type(file, &plain)?,
        _ => format!("&{}", rust_type(file, &plain)?),
    };
    Ok(if r#type.has("@nullable") { format!("Option<{name}>") } else { name })
}

/// The type of a field: an fd has no default and is optional.
fn field_type(file: &Scope<'_>, r#type: &Type) -> Result<String> {
    let name = rust_type(file, r#type)?;
    let is_fd = r#type.name == "ParcelFileDescriptor" && !r#type.is_array;
    Ok(if is_fd && !r#type.has("@nullable") { format!("Option<{name}>") } else { name })
}

fn rust_type(file: &Scope<'_>, r#type: &Type) -> Result<String> {
    let name = match (r#type.name.as_str(), r#type.is_array) {
        ("boolean", _) => "bool".to_owned(),
        ("byte", true) => "u8".to_owned(),
        ("byte", false) => "i8".to_owned(),
        ("int", _) => "i32".to_owned(),
        ("long", _) => "i64".to_owned(),
        ("float", _) => "f32".to_owned(),
        ("double", _) => "f64".to_owned(),
        ("String", _) => "String".to_owned(),
        ("ParcelFileDescriptor", _) => "binder::ParcelFileDescriptor".to_owned(),
        (name, _) => {
            let (package, _) = file
                .full_name(name)
                .rsplit_once('.')
                .map(|(package, name)| (package.to_owned(), name.to_owned()))
                .with_context(|| format!("unknown type {name}"))?;
            ensure!(package == file.package, "{name} is of another package");
            match file.kind(name) {
                Some(Kind::Interface) => format!("binder::Strong<dyn super::{name}::{name}>"),
                _ => format!("super::{name}::{name}"),
            }
        }
    };
    let name = if r#type.is_array { format!("Vec<{name}>") } else { name };
    Ok(if r#type.has("@nullable") { format!("Option<{name}>") } else { name })
}

fn rust_value(value: &Expression) -> String {
    match value {
        Expression::Literal(text) => text.clone(),
        Expression::Negative(number) => format!("-{number}"),
        Expression::Reference(name) => name.replace('.', "::"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parser::parse;
    use super::*;

    fn generated(source: &str) -> String {
        generate(&[parse(&format!("package a.b; {source}")).unwrap()]).unwrap()
    }

    #[test]
    fn fields_have_the_types_of_the_rust_backend() {
        let text = generated(
            "parcelable P { byte[] b; @nullable byte[] n; ParcelFileDescriptor f; \
             ParcelFileDescriptor[] fs; Q q = Q.X; long l = 3; @utf8InCpp String s; boolean o; }",
        );
        for line in [
            "pub b: Vec<u8>,",
            "pub n: Option<Vec<u8>>,",
            "pub f: Option<binder::ParcelFileDescriptor>,",
            "pub fs: Vec<binder::ParcelFileDescriptor>,",
            "pub q: super::Q::Q,",
            "q: super::Q::Q::X,",
            "pub l: i64,",
            "l: 3,",
            "pub s: String,",
            "pub o: bool,",
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line} in {text}");
        }
    }

    #[test]
    fn methods_take_parcelables_by_reference() {
        let sources = [
            "interface IFoo { P[] f(in P p); void g(); IBar h(in @nullable IBar b); }",
            "oneway interface IBar { void f(long l, in E e, in @utf8InCpp String s); }",
            "parcelable P { }",
            "enum E { A = 1 }",
        ];
        let files = sources.map(|source| parse(&format!("package a.b; {source}")).unwrap());
        let text = generate(&files).unwrap();
        let bar = "binder::Strong<dyn super::IBar::IBar>";
        for line in [
            "fn f(&self, _arg_p: &super::P::P) -> binder::Result<Vec<super::P::P>>;".to_owned(),
            format!("fn h(&self, _arg_b: Option<&{bar}>) -> binder::Result<{bar}>;"),
            "fn f(&self, _arg_l: i64, _arg_e: super::E::E, _arg_s: &str) -> binder::Result<()>;"
                .to_owned(),
        ] {
            assert!(text.contains(&line), "{line} in {text}");
        }
        assert!(text.contains("fn g(&self) -> binder::Result<()>;"));
        assert!(text.contains("{ IFoo, BnFoo, BpFoo }"));
    }

    #[test]
    fn unions_and_enums_are_as_in_the_rust_backend() {
        let text = generated("union U { P newP; ParcelFileDescriptor fd; }");
        assert!(text.contains("NewP(super::P::P),\nFd(Option<binder::ParcelFileDescriptor>),"));
        let text = generated("@Backing(type=\"int\") enum E { A = 1, B = -2 }");
        assert!(text.contains("pub struct E(pub i32);"));
        assert!(text.contains("pub const B: Self = Self(-2);"));
        assert!(text.contains("enum_values() -> [Self; 2]"));
    }
}
