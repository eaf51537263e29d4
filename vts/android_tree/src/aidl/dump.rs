// SPDX-License-Identifier: Apache-2.0
//! The API of an interface as `aidl --dumpapi` writes it: one file for each type, without
//! documentation, with full names.

use std::fmt::Write as _;

use anyhow::{bail, ensure, Context, Result};

use super::model::{Declaration, Expression, File, Member, MemberKind, Type};

/// What the compiler puts between licence and package.
const NOTICE: &str = "\
///////////////////////////////////////////////////////////////////////////////
// THIS FILE IS IMMUTABLE. DO NOT EDIT IN ANY CASE.                          //
///////////////////////////////////////////////////////////////////////////////

// This file is a snapshot of an AIDL file. Do not edit it manually. There are
// two cases:
// 1). this is a frozen version file - do not edit this in any case.
// 2). this is a 'current' file. If you make a backwards compatible change to
//     the interface (from the latest frozen version), the build system will
//     prompt you to update this file with `m <name>-update-api`.
//
// You must not make a backward incompatible change to any AIDL file built
// with the aidl_interface module type with versions property set. The module
// type is used to build AIDL files in a way that they can be used across
// independently updatable components of the system. If a device is shipped
// with such a backward incompatible change, it has a high risk of breaking
// later when a module using the interface is updated, e.g., Mainline modules.

";

/// Where the dump of a type is, below the directory of a version.
pub fn path(file: &File) -> String {
    format!("{}/{}.aidl", file.package.replace('.', "/"), file.declaration.name)
}

/// The dump of a type.
///
/// # Errors
/// A comment with `@hide` or `@deprecated`, which the compiler's dump keeps, and a reference that
/// nothing declares.
pub fn dump(file: &File) -> Result<String> {
    let declaration = &file.declaration;
    let mut text = String::new();
    for comment in &file.licence {
        // The compiler keeps a line comment with its end and a block comment without.
        text.push_str(comment);
        text.push('\n');
    }
    text.push_str(NOTICE);
    writeln!(text, "package {};", file.package)?;
    refuse_tags(declaration.doc.as_deref())?;
    if !declaration.annotations.is_empty() {
        writeln!(text, "{}", sorted(&declaration.annotations))?;
    }
    writeln!(text, "{} {} {{", declaration.kind.keyword(), declaration.name)?;
    // Constants come after fields.
    let (constants, others): (Vec<&Member>, Vec<&Member>) = declaration
        .members
        .iter()
        .partition(|member| matches!(member.kind, MemberKind::Constant(..)));
    for member in others.into_iter().chain(constants) {
        refuse_tags(member.doc.as_deref())?;
        writeln!(text, "  {}", member_line(file, member)?)?;
    }
    text.push_str("}\n");
    Ok(text)
}

fn refuse_tags(doc: Option<&str>) -> Result<()> {
    for tag in ["@hide", "@deprecated"] {
        ensure!(!doc.is_some_and(|doc| doc.contains(tag)), "{tag} is not supported");
    }
    Ok(())
}

fn sorted(annotations: &[String]) -> String {
    let mut annotations = annotations.to_vec();
    annotations.sort();
    annotations.join(" ")
}

fn member_line(file: &File, member: &Member) -> Result<String> {
    let name = &member.name;
    let with_default = |value: &Option<Expression>, start: String, end: &str| -> Result<String> {
        match value {
            None => Ok(start + end),
            Some(value) => Ok(format!("{start} = {}{end}", expression(file, value)?)),
        }
    };
    match &member.kind {
        MemberKind::Method { oneway, returns, arguments } => {
            let oneway = if *oneway { "oneway " } else { "" };
            let arguments = arguments.iter().map(|argument| {
                let direction = argument.direction.as_deref().map(|word| format!("{word} "));
                let direction = direction.unwrap_or_default();
                format!("{direction}{} {}", type_name(file, &argument.r#type), argument.name)
            });
            let arguments = arguments.collect::<Vec<_>>().join(", ");
            Ok(format!("{oneway}{} {name}({arguments});", type_name(file, returns)))
        }
        MemberKind::Field(r#type, value) => {
            with_default(value, format!("{} {name}", type_name(file, r#type)), ";")
        }
        MemberKind::Constant(r#type, value) => {
            let value = expression(file, value)?;
            Ok(format!("const {} {name} = {value};", type_name(file, r#type)))
        }
        MemberKind::Enumerator(value) => with_default(value, name.clone(), ","),
    }
}

fn type_name(file: &File, r#type: &Type) -> String {
    let annotations = sorted(&r#type.annotations);
    let space = if annotations.is_empty() { "" } else { " " };
    let array = if r#type.is_array { "[]" } else { "" };
    format!("{annotations}{space}{}{array}", file.full_name(&r#type.name))
}

/// The compiler adds the result of an expression in a comment, except for values of enums.
fn expression(file: &File, value: &Expression) -> Result<String> {
    Ok(match value {
        Expression::Literal(text) => text.clone(),
        Expression::Negative(number) => format!("(-{number}) /* -{number} */"),
        Expression::Reference(name) => match name.rsplit_once('.') {
            Some((of_enum, value)) => format!("{}.{value}", file.full_name(of_enum)),
            None => format!("{name} /* {} */", constant_value(&file.declaration, name)?),
        },
    })
}

fn constant_value(declaration: &Declaration, name: &str) -> Result<String> {
    let found = declaration.members.iter().find(|member| member.name == name);
    match found.map(|member| &member.kind).with_context(|| format!("nothing declares {name}"))? {
        MemberKind::Constant(_, Expression::Literal(text)) => Ok(text.clone()),
        MemberKind::Constant(_, Expression::Negative(number)) => Ok(format!("-{number}")),
        _ => bail!("{name} is not a constant with a literal value"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parser::parse;
    use super::*;

    fn dumped(source: &str) -> String {
        let dump = dump(&parse(source).unwrap()).unwrap();
        let (licence, rest) = dump.split_once(NOTICE).unwrap();
        format!("{licence}{rest}")
    }

    #[test]
    fn a_parcelable_is_dumped_as_the_compiler_does() {
        let source =
            "/* Licence */\npackage a.b;\nimport c.E;\n/** Doc. */\n@VintfStability @Backing\n\
            parcelable P { /** Doc. */ const long C = -1; @utf8InCpp @nullable String s;\n\
            E e = E.X; long n = C; P[] p; ParcelFileDescriptor f; int m = 3; }";
        let expected = "/* Licence */\npackage a.b;\n@Backing @VintfStability\nparcelable P {\n  \
            @nullable @utf8InCpp String s;\n  c.E e = c.E.X;\n  long n = C /* -1 */;\n  a.b.P[] p;\n  \
            ParcelFileDescriptor f;\n  int m = 3;\n  const long C = (-1) /* -1 */;\n}\n";
        assert_eq!(dumped(source), expected);
    }

    #[test]
    fn an_interface_and_an_enum_are_dumped() {
        let source = "package a; interface I { P f(in P p, int n); oneway void g(); }";
        let expected =
            "package a;\ninterface I {\n  a.P f(in a.P p, int n);\n  oneway void g();\n}\n";
        assert_eq!(dumped(source), expected);
        let source = "package a; oneway interface I { void g(); }";
        assert_eq!(dumped(source), "package a;\ninterface I {\n  oneway void g();\n}\n");
        let source = "// L\npackage a; @Backing(type=\"int\") enum E { A = 1, B }";
        let expected = "// L\npackage a;\n@Backing(type=\"int\")\nenum E {\n  A = 1,\n  B,\n}\n";
        assert_eq!(dumped(source), expected);
    }

    #[test]
    fn what_the_dump_would_keep_is_refused() {
        for source in
            ["/** @hide */ parcelable P { }", "parcelable P { /** @deprecated */ int n; }"]
        {
            assert!(dump(&parse(&format!("package a; {source}")).unwrap()).is_err(), "{source}");
        }
        assert!(dump(&parse("package a; parcelable P { int n = M; }").unwrap()).is_err());
    }

    #[test]
    fn a_dump_is_at_the_path_of_its_package() {
        assert_eq!(path(&parse("package a.b; parcelable P { }").unwrap()), "a/b/P.aidl");
    }
}
