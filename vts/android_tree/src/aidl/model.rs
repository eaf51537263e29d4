// SPDX-License-Identifier: Apache-2.0
//! What a source file declares.

/// Types that AIDL has by itself.
const BUILT_IN: [&str; 12] = [
    "void",
    "boolean",
    "byte",
    "char",
    "int",
    "long",
    "float",
    "double",
    "String",
    "IBinder",
    "ParcelFileDescriptor",
    "FileDescriptor",
];

/// One source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The comments before `package`, as written: the licence.
    pub licence: Vec<String>,
    /// `a.b.c`
    pub package: String,
    /// Full names of imported types.
    pub imports: Vec<String>,
    /// The type.
    pub declaration: Declaration,
}

impl File {
    /// The name of a type with its package.
    pub fn full_name(&self, name: &str) -> String {
        if BUILT_IN.contains(&name) || name.contains('.') {
            return name.to_owned();
        }
        let suffix = format!(".{name}");
        let imported = self.imports.iter().find(|import| import.ends_with(&suffix));
        imported.cloned().unwrap_or_else(|| format!("{}.{name}", self.package))
    }
}

/// A type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// Its documentation comment.
    pub doc: Option<String>,
    /// As written, for example `@VintfStability`.
    pub annotations: Vec<String>,
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What it has, in the order written.
    pub members: Vec<Member>,
}

/// What a type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Interface,
    Parcelable,
    Union,
    Enum,
}

impl Kind {
    /// AIDL's keyword.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Parcelable => "parcelable",
            Self::Union => "union",
            Self::Enum => "enum",
        }
    }
}

/// A member and its documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its documentation comment.
    pub doc: Option<String>,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: MemberKind,
}

impl Member {
    /// The same method, for which callers do not wait.
    #[must_use]
    pub fn oneway(mut self) -> Self {
        if let MemberKind::Method { oneway, .. } = &mut self.kind {
            *oneway = true;
        }
        self
    }
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberKind {
    /// A method: `oneway`, what it returns, and its arguments.
    Method {
        /// Whether callers do not wait.
        oneway: bool,
        /// What it returns.
        returns: Type,
        /// Its arguments.
        arguments: Vec<Argument>,
    },
    /// A field of a parcelable or a union, and its default.
    Field(Type, Option<Expression>),
    /// `const TYPE NAME = VALUE;`
    Constant(Type, Expression),
    /// A value of an enum.
    Enumerator(Option<Expression>),
}

/// An argument of a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// `in`, `out`, `inout`, or nothing.
    pub direction: Option<String>,
    /// Its type.
    pub r#type: Type,
    /// Its name.
    pub name: String,
}

/// The type of a field, a constant, an argument or a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    /// As written, for example `@nullable`.
    pub annotations: Vec<String>,
    /// As written.
    pub name: String,
    /// Whether `[]` follows.
    pub is_array: bool,
}

impl Type {
    /// Whether it has an annotation.
    pub fn has(&self, annotation: &str) -> bool {
        self.annotations.iter().any(|own| own == annotation)
    }
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// A number, a string, `true` or `false`, as written.
    Literal(String),
    /// `-` and a number.
    Negative(String),
    /// A constant of the same type, or `Enum.VALUE`.
    Reference(String),
}
