// SPDX-License-Identifier: Apache-2.0
//! Reads source files.

use std::path::Path;

use anyhow::{anyhow, ensure, Context, Result};
use winnow::combinator::{alt, delimited, eof, opt, preceded, repeat, separated, terminated};
use winnow::error::{ContextError, StrContext, StrContextValue};
use winnow::prelude::*;
use winnow::token::{take_till, take_while};

use super::model::{Argument, Declaration, Expression, File, Kind, Member, MemberKind, Type};
use crate::lexeme::{comment, identifier};
use crate::source_text::files_with_extension;

/// Reads every `.aidl` file of `dir`, sorted by name.
///
/// # Errors
/// A file that cannot be read, is outside the grammar, or is not named after its type.
pub fn read(dir: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for path in files_with_extension(dir, "aidl")? {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let file = parse(&text).map_err(|error| anyhow!("{}:\n{error}", path.display()))?;
        ensure!(
            path.file_stem().is_some_and(|stem| *stem == *file.declaration.name),
            "{}: has the type {}",
            path.display(),
            file.declaration.name
        );
        files.push(file);
    }
    Ok(files)
}

/// Reads a source. The error shows the line.
pub fn parse(text: &str) -> std::result::Result<File, String> {
    file.parse(text).map_err(|error| error.to_string())
}

/// White space and comments; the comments, as written.
fn comments<'a>(input: &mut &'a str) -> winnow::Result<Vec<&'a str>> {
    let space = take_while(1.., char::is_whitespace).value(None);
    let all: Vec<Option<&str>> = repeat(0.., alt((space, comment.map(Some)))).parse_next(input)?;
    Ok(all.into_iter().flatten().collect())
}

/// The documentation comment among the comments here.
fn doc(input: &mut &str) -> winnow::Result<Option<String>> {
    let comments = comments(input)?;
    Ok(comments.into_iter().rfind(|text| text.starts_with("/**")).map(str::to_owned))
}

fn lexeme<'a, O>(
    parser: impl Parser<&'a str, O, ContextError>,
) -> impl Parser<&'a str, O, ContextError> {
    preceded(comments, parser)
}

fn symbol<'a>(text: &'static str) -> impl Parser<&'a str, &'a str, ContextError> {
    lexeme(text).context(StrContext::Expected(StrContextValue::StringLiteral(text)))
}

fn keyword<'a>(text: &'static str) -> impl Parser<&'a str, String, ContextError> {
    word.verify(move |word: &str| word == text)
        .context(StrContext::Expected(StrContextValue::StringLiteral(text)))
}

fn word(input: &mut &str) -> winnow::Result<String> {
    lexeme(identifier).map(str::to_owned).context(StrContext::Label("name")).parse_next(input)
}

/// `a.b.c`
fn name(input: &mut &str) -> winnow::Result<String> {
    let parts: Vec<String> = separated(1.., word, symbol(".")).parse_next(input)?;
    Ok(parts.join("."))
}

fn file(input: &mut &str) -> winnow::Result<File> {
    let licence = comments.parse_next(input)?.into_iter().map(str::to_owned).collect();
    let package = delimited(keyword("package"), name, symbol(";")).parse_next(input)?;
    let imports = repeat(0.., delimited(keyword("import"), name, symbol(";"))).parse_next(input)?;
    let declaration = declaration.parse_next(input)?;
    (comments, eof).parse_next(input)?;
    Ok(File { licence, package, imports, declaration })
}

/// `@name` or `@name(...)`
fn annotation(input: &mut &str) -> winnow::Result<String> {
    let parameters = ("(", take_till(0.., ')'), ")");
    lexeme(("@", word, opt(parameters)).take()).map(str::to_owned).parse_next(input)
}

fn declaration(input: &mut &str) -> winnow::Result<Declaration> {
    let doc = doc.parse_next(input)?;
    let annotations = repeat(0.., annotation).parse_next(input)?;
    let oneway = opt(keyword("oneway")).parse_next(input)?.is_some();
    let kind = alt((
        keyword("interface").value(Kind::Interface),
        keyword("parcelable").value(Kind::Parcelable),
        keyword("union").value(Kind::Union),
        keyword("enum").value(Kind::Enum),
    ))
    .parse_next(input)?;
    let name = word.parse_next(input)?;
    let members = match kind {
        Kind::Interface => {
            let methods: Vec<Member> =
                delimited(symbol("{"), repeat(0.., method), symbol("}")).parse_next(input)?;
            // As the compiler has it: of such an interface each method is oneway.
            methods
                .into_iter()
                .map(|method| if oneway { method.oneway() } else { method })
                .collect()
        }
        Kind::Parcelable | Kind::Union => {
            delimited(symbol("{"), repeat(0.., alt((constant, field))), symbol("}"))
                .parse_next(input)?
        }
        Kind::Enum => {
            let values = terminated(separated(1.., enumerator, symbol(",")), opt(symbol(",")));
            delimited(symbol("{"), values, symbol("}")).parse_next(input)?
        }
    };
    Ok(Declaration { doc, annotations, kind, name, members })
}

fn method(input: &mut &str) -> winnow::Result<Member> {
    let (doc, oneway) = (doc, opt(keyword("oneway"))).parse_next(input)?;
    let (returns, name) = (type_, word).parse_next(input)?;
    let arguments = delimited(symbol("("), separated(0.., argument, symbol(",")), symbol(")"))
        .parse_next(input)?;
    symbol(";").parse_next(input)?;
    let kind = MemberKind::Method { oneway: oneway.is_some(), returns, arguments };
    Ok(Member { doc, name, kind })
}

fn argument(input: &mut &str) -> winnow::Result<Argument> {
    let direction = opt(alt((keyword("inout"), keyword("in"), keyword("out"))));
    let (direction, r#type, name) = (direction, type_, word).parse_next(input)?;
    Ok(Argument { direction, r#type, name })
}

fn constant(input: &mut &str) -> winnow::Result<Member> {
    let (doc, _, r#type, name, _, value, _) =
        (doc, keyword("const"), type_, word, symbol("="), expression, symbol(";"))
            .parse_next(input)?;
    Ok(Member { doc, name, kind: MemberKind::Constant(r#type, value) })
}

fn field(input: &mut &str) -> winnow::Result<Member> {
    let (doc, r#type, name, value, _) =
        (doc, type_, word, opt(preceded(symbol("="), expression)), symbol(";"))
            .parse_next(input)?;
    Ok(Member { doc, name, kind: MemberKind::Field(r#type, value) })
}

fn enumerator(input: &mut &str) -> winnow::Result<Member> {
    let (doc, name, value) =
        (doc, word, opt(preceded(symbol("="), expression))).parse_next(input)?;
    Ok(Member { doc, name, kind: MemberKind::Enumerator(value) })
}

fn type_(input: &mut &str) -> winnow::Result<Type> {
    let (annotations, name, array) =
        (repeat(0.., annotation), name, opt((symbol("["), symbol("]")))).parse_next(input)?;
    Ok(Type { annotations, name, is_array: array.is_some() })
}

fn expression(input: &mut &str) -> winnow::Result<Expression> {
    let string = lexeme(("\"", take_till(0.., '"'), "\"").take());
    alt((
        preceded(symbol("-"), number).map(Expression::Negative),
        number.map(Expression::Literal),
        string.map(|text: &str| Expression::Literal(text.to_owned())),
        name.map(|text| match text.as_str() {
            "true" | "false" => Expression::Literal(text),
            _ => Expression::Reference(text),
        }),
    ))
    .parse_next(input)
}

fn number(input: &mut &str) -> winnow::Result<String> {
    let rest = |c: char| c.is_ascii_alphanumeric() || c == '.';
    lexeme((take_while(1, '0'..='9'), take_while(0.., rest)).take())
        .map(str::to_owned)
        .parse_next(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcelable_is_read_with_its_comments() {
        let file = parse(
            "// Licence\npackage a.b;\nimport a.b.E;\n/** Doc. */\n@VintfStability\n\
             @Backing(type=\"int\") parcelable P {\n/** F. */\n@nullable byte[] f;\n\
             const long C = -1; // no doc\nE e = E.X; int n = 0x10; boolean b = true;\n}\n",
        )
        .unwrap();
        assert_eq!(file.licence, ["// Licence"]);
        assert_eq!((file.package.as_str(), &file.imports[..]), ("a.b", &["a.b.E".to_owned()][..]));
        let declaration = file.declaration;
        assert_eq!(declaration.doc.as_deref(), Some("/** Doc. */"));
        assert_eq!(declaration.annotations, ["@VintfStability", "@Backing(type=\"int\")"]);
        let names: Vec<&str> = declaration.members.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["f", "C", "e", "n", "b"]);
        assert_eq!(declaration.members[0].doc.as_deref(), Some("/** F. */"));
        let MemberKind::Field(f, None) = &declaration.members[0].kind else { panic!() };
        assert!(f.is_array && f.has("@nullable") && f.name == "byte");
        let values: Vec<Expression> = declaration.members[1..]
            .iter()
            .filter_map(|member| match &member.kind {
                MemberKind::Constant(_, value) | MemberKind::Field(_, Some(value)) => {
                    Some(value.clone())
                }
                _ => None,
            })
            .collect();
        let literal = |text: &str| Expression::Literal(text.to_owned());
        assert_eq!(
            values,
            [
                Expression::Negative("1".into()),
                Expression::Reference("E.X".into()),
                literal("0x10"),
                literal("true")
            ]
        );
    }

    #[test]
    fn an_interface_and_an_enum_are_read() {
        let file =
            parse("package a; interface I { oneway void f(in P p, int n); P[] g(); }").unwrap();
        assert_eq!(file.declaration.kind, Kind::Interface);
        let MemberKind::Method { oneway, arguments, .. } = &file.declaration.members[0].kind else {
            panic!()
        };
        assert!(*oneway && arguments.len() == 2);
        assert_eq!(arguments[0].direction.as_deref(), Some("in"));
        let file = parse("package a; enum E { A = 1, B, }").unwrap();
        assert_eq!(file.declaration.members.len(), 2);
    }

    #[test]
    fn what_is_outside_the_grammar_is_an_error() {
        for text in [
            "package a; parcelable P { List<String> l; }",
            "package a; parcelable P { int x }",
            "package a; enum E { }",
            "package a; parcelable P { } parcelable Q { }",
            "parcelable P { }",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
