//! The tree both file formats become: values with the place where they stand.
//!
//! It keeps what the file says (order, duplicates, number spelling) and decides nothing.

use std::fmt;

/// Blocks and lists inside one another; SPIRE's deepest has 8. The readers recurse, so this bounds their stack.
pub(super) const MAX_DEPTH: usize = 64;

/// A place in a file, counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The character in the line.
    pub column: u32,
}

impl Position {
    /// Where every file begins.
    pub const START: Self = Self { line: 1, column: 1 };

    /// The place after `character`, which stands here.
    #[must_use]
    pub const fn after(self, character: char) -> Self {
        if character == '\n' {
            return Self { line: self.line.saturating_add(1), column: 1 };
        }
        self.right()
    }

    /// One column further.
    #[must_use]
    pub const fn right(self) -> Self {
        Self { line: self.line, column: self.column.saturating_add(1) }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

/// What a file can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// As spelled: `010` is eight for HCL 1, and a string setting may want the digits.
    Number(String),
    String(String),
    List(Vec<Node>),
    Object(Vec<Entry>),
}

impl Value {
    /// The kind of value, as an error message names it.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "a block",
        }
    }
}

/// A key of an object and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Position,
    pub(super) form: Form,
    pub(super) value: Node,
}

/// How the entry is written: a block may be repeated and is then merged, an assignment may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Assigned,
    Block,
}
