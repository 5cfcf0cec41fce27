//! Why a configuration cannot be used: the file, its syntax, or what it says.

use std::io;
use std::path::PathBuf;

use super::{Position, Problems};

/// Why no configuration came out of a file and its flags.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file does not exist; the text is SPIRE's.
    #[error("could not find config file {}: please use the -config flag", .path.display())]
    Missing {
        /// The absolute path that was tried.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("unable to read configuration at {:?}: {source}", .path)]
    Unreadable {
        /// The path as given.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The file is longer than any configuration can be.
    #[error("unable to read configuration at {path:?}: it is larger than {limit} bytes")]
    TooLarge {
        /// The path as given.
        path: PathBuf,
        /// The most bytes that are read.
        limit: u64,
    },
    /// The file is neither HCL nor JSON; the frame is SPIRE's, and so are the texts of the HCL rules.
    #[error("unable to decode configuration at {path:?}: At {at}: {fault}")]
    Syntax {
        /// The path as given.
        path: PathBuf,
        /// Where reading stopped.
        at: Position,
        /// Which rule is broken.
        fault: Fault,
    },
    /// The file reads well and says something that cannot be used.
    #[error("{problems}")]
    Invalid {
        /// Everything that is wrong, not only the first.
        problems: Problems,
    },
}

/// A broken rule of the file format and where it is broken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) at: Position,
    pub(super) fault: Fault,
}

/// The rules of the file formats, each named by its violation.
///
/// Where HCL 1 has a text for it, the text is HCL 1's: people search the web for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes are not UTF-8.
    #[error("illegal UTF-8 encoding")]
    NotUtf8,
    /// A NUL byte stands in the file.
    #[error("unexpected null character (0x00)")]
    Nul,
    /// A character that begins nothing.
    #[error("illegal char")]
    IllegalCharacter,
    /// A lone slash.
    #[error("expected '/' for comment")]
    LoneSlash,
    /// A `/*` without its end.
    #[error("comment not terminated")]
    OpenComment,
    /// A quoted string without its end.
    #[error("literal not terminated")]
    OpenString,
    /// A backslash before something that has no meaning there.
    #[error("illegal char escape")]
    IllegalEscape,
    /// `0x` without digits.
    #[error("illegal hexadecimal number")]
    IllegalHexadecimal,
    /// A leading zero before an 8 or a 9.
    #[error("illegal octal number")]
    IllegalOctal,
    /// One `<`.
    #[error("heredoc expected second '<', didn't see it")]
    LoneLess,
    /// A heredoc whose anchor line never comes.
    #[error("heredoc not terminated")]
    OpenHeredoc,
    /// Something else than a word after `<<`.
    #[error("invalid characters in heredoc anchor")]
    HeredocAnchor,
    /// Nothing after `<<`.
    #[error("zero-length heredoc anchor")]
    EmptyHeredocAnchor,
    /// Blocks or lists inside one another beyond the limit.
    #[error("nested deeper than {limit} levels")]
    TooDeep {
        /// The deepest level that is read.
        limit: usize,
    },
    /// A key without a value.
    #[error("key '{keys}' expected start of object ('{{') or assignment ('=')")]
    NoValue {
        /// The key, or the keys of the block.
        keys: String,
    },
    /// An assignment without a key.
    #[error("no object keys found!")]
    NoKey,
    /// Something that cannot be part of a key.
    #[error("expected: {expected} got: {found}")]
    Unexpected {
        /// What could stand here.
        expected: &'static str,
        /// What stands here.
        found: &'static str,
    },
    /// Two keys before an equals sign.
    #[error("nested object expected: LBRACE got: ASSIGN")]
    NestedAssignment,
    /// The file ends inside a block.
    #[error("object expected closing RBRACE got: EOF")]
    OpenObject,
    /// Something that is no value.
    #[error("Unknown token: {at} {found} {text}")]
    NoSuchValue {
        /// Where it stands.
        at: Position,
        /// What it is.
        found: &'static str,
        /// How it is spelled.
        text: String,
    },
    /// Two elements of a list without a comma between.
    #[error("error parsing list, expected comma or list end, got: {found}")]
    ListSeparator {
        /// What stands there.
        found: &'static str,
    },
    /// Something that is no element of a list.
    #[error("unexpected token while parsing list: {found}")]
    ListElement {
        /// What stands there.
        found: &'static str,
    },
    /// A fault inside an element of a list.
    #[error("error while trying to parse {what} within list: At {at}: {fault}")]
    InList {
        /// The kind of element.
        what: &'static str,
        /// Where the fault is.
        at: Position,
        /// The fault.
        fault: Box<Self>,
    },
    /// JSON that breaks the grammar of RFC 8259.
    #[error("invalid JSON: expected {expected}, found {found}")]
    Json {
        /// What could stand here.
        expected: &'static str,
        /// What stands here.
        found: Found,
    },
}

/// What a JSON reader met instead of what it wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A character.
    Character(char),
    /// The end of the file.
    End,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Character(character) => write!(f, "{character:?}"),
            Self::End => f.write_str("the end of the file"),
        }
    }
}
