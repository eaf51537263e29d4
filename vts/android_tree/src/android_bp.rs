// SPDX-License-Identifier: Apache-2.0
//! Reads Android.bp files: the grammar of Blueprint, except variables and `select()`.

use winnow::ascii::{digit1, multispace1};
use winnow::combinator::{
    alt, delimited, eof, opt, preceded, repeat, separated, separated_pair, terminated,
};
use winnow::error::{StrContext, StrContextValue};
use winnow::prelude::*;
use winnow::token::take_till;

use crate::lexeme::{comment, identifier};

/// What a property has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `"text"`
    String(String),
    /// `true` or `false`
    Bool(bool),
    /// `-1`
    Integer(i64),
    /// `[ ... ]`
    List(Vec<Value>),
    /// `{ ... }`
    Map(Properties),
}

/// Names and values, in the order written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(Vec<(String, Value)>);

/// `kind { properties }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// The module type, for example `rust_library`.
    pub kind: String,
    /// What it has.
    pub properties: Properties,
}

impl Properties {
    /// The value of a property.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// A property that is a string.
    pub fn string(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The strings of a property that is a list; none where it is missing.
    pub fn strings(&self, name: &str) -> Vec<&str> {
        match self.get(name) {
            Some(Value::List(values)) => values
                .iter()
                .filter_map(|value| match value {
                    Value::String(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Whether a property is `true`, or `default` where it is missing.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        match self.get(name) {
            Some(Value::Bool(flag)) => *flag,
            _ => default,
        }
    }

    /// These properties over those of a `defaults` module, as Soong merges them. Lists are joined,
    /// the defaults' first; maps are merged; otherwise the module's own value counts.
    pub fn over(self, defaults: Self) -> Self {
        let mut merged = defaults;
        for (name, value) in self.0 {
            match merged.0.iter_mut().find(|(own, _)| *own == name) {
                None => merged.0.push((name, value)),
                Some((_, under)) => {
                    *under = match (value, std::mem::replace(under, Value::Bool(false))) {
                        (Value::List(own), Value::List(mut first)) => {
                            first.extend(own);
                            Value::List(first)
                        }
                        (Value::Map(own), Value::Map(first)) => Value::Map(own.over(first)),
                        (own, _) => own,
                    };
                }
            }
        }
        merged
    }
}

/// Reads a file. The error shows the line.
pub fn parse(text: &str) -> Result<Vec<Module>, String> {
    terminated(preceded(blank, repeat(0.., module)), eof)
        .parse(text)
        .map_err(|error| error.to_string())
}

/// White space and comments.
fn blank(input: &mut &str) -> winnow::Result<()> {
    repeat(0.., alt((multispace1, comment)).void()).parse_next(input)
}

/// A symbol or word, and the blank after it.
fn lexeme<'a, O>(
    parser: impl Parser<&'a str, O, winnow::error::ContextError>,
) -> impl Parser<&'a str, O, winnow::error::ContextError> {
    terminated(parser, blank)
}

fn symbol<'a>(text: &'static str) -> impl Parser<&'a str, &'a str, winnow::error::ContextError> {
    lexeme(text).context(StrContext::Expected(StrContextValue::StringLiteral(text)))
}

fn word(input: &mut &str) -> winnow::Result<String> {
    lexeme(identifier).map(str::to_owned).context(StrContext::Label("name")).parse_next(input)
}

fn module(input: &mut &str) -> winnow::Result<Module> {
    (word, properties).map(|(kind, properties)| Module { kind, properties }).parse_next(input)
}

fn properties(input: &mut &str) -> winnow::Result<Properties> {
    let property = separated_pair(word, symbol(":"), value);
    let list = terminated(separated(0.., property, symbol(",")), opt(symbol(",")));
    delimited(symbol("{"), list, symbol("}")).map(Properties).parse_next(input)
}

fn value(input: &mut &str) -> winnow::Result<Value> {
    let terms: Vec<Value> = separated(1.., term, symbol("+")).parse_next(input)?;
    let mut terms = terms.into_iter();
    let first = terms.next().unwrap_or(Value::List(Vec::new()));
    Ok(terms.fold(first, |sum, term| match (sum, term) {
        (Value::String(a), Value::String(b)) => Value::String(a + &b),
        (Value::List(a), Value::List(b)) => Value::List([a, b].concat()),
        (Value::Map(a), Value::Map(b)) => Value::Map(b.over(a)),
        (_, term) => term,
    }))
}

fn term(input: &mut &str) -> winnow::Result<Value> {
    alt((
        string.map(Value::String),
        lexeme("true").value(Value::Bool(true)),
        lexeme("false").value(Value::Bool(false)),
        lexeme((opt('-'), digit1).take().try_map(str::parse)).map(Value::Integer),
        list.map(Value::List),
        properties.map(Value::Map),
    ))
    .context(StrContext::Label("value"))
    .parse_next(input)
}

fn list(input: &mut &str) -> winnow::Result<Vec<Value>> {
    let items = terminated(separated(0.., value, symbol(",")), opt(symbol(",")));
    delimited(symbol("["), items, symbol("]")).parse_next(input)
}

fn string(input: &mut &str) -> winnow::Result<String> {
    lexeme(delimited('"', take_till(0.., ['"', '\\', '\n']), '"'))
        .map(str::to_owned)
        .parse_next(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_read() {
        let text = "// comment\n\
            package { default_team: \"x\" } /* block */\n\
            rust_library {\n\
                name: \"a\" + \"b\", srcs: [\"x.rs\", \"y.rs\",], n: -3, on: true,\n\
                target: { android: { enabled: false, }, },\n\
                more: [\"p\"] + [\"q\"],\n\
            }\n";
        let modules = parse(text).unwrap();
        assert_eq!(modules.len(), 2);
        let library = &modules[1];
        assert_eq!(library.kind, "rust_library");
        assert_eq!(library.properties.string("name"), Some("ab"));
        assert_eq!(library.properties.strings("srcs"), ["x.rs", "y.rs"]);
        assert_eq!(library.properties.get("n"), Some(&Value::Integer(-3)));
        assert!(library.properties.flag("on", false) && !library.properties.flag("off", false));
        assert_eq!(library.properties.strings("more"), ["p", "q"]);
        let Some(Value::Map(target)) = library.properties.get("target") else { panic!() };
        assert!(matches!(target.get("android"), Some(Value::Map(_))));
    }

    #[test]
    fn errors_show_the_place() {
        for text in
            ["m {", "m { a: }", "m { a \"b\" }", "m { a: [\"b\" \"c\"] }", "m { a: x }", "= 1"]
        {
            let error = parse(text).unwrap_err();
            assert!(error.contains('^'), "{text}: {error}");
        }
    }

    #[test]
    fn lists_are_joined_with_those_of_the_defaults() {
        let modules = parse(
            "d { l: [\"a\"], s: \"a\", m: { x: 1 } } m { l: [\"b\"], s: \"b\", m: { y: 2 } }",
        )
        .unwrap();
        let [defaults, module] = &modules[..] else { panic!() };
        let merged = module.properties.clone().over(defaults.properties.clone());
        assert_eq!(merged.strings("l"), ["a", "b"]);
        assert_eq!(merged.string("s"), Some("b"));
        let Some(Value::Map(map)) = merged.get("m") else { panic!() };
        assert!(map.get("x").is_some() && map.get("y").is_some());
    }
}
