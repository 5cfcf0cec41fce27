//! What a command reads from a file or from standard input, bounded, and as JSON.

use serde_json::Value;
use std::{
    fs::File,
    io::{self, Read},
};

/// 64 MiB: room for a hundred thousand entries, and an end for `-data - </dev/zero`.
const MAX_BYTES: u64 = 64 << 20;

/// Input that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The file cannot be opened; the text is Go's.
    #[error("open {path}: {}", describe(.cause))]
    Open {
        /// As given.
        path: String,
        /// Why not.
        cause: io::Error,
    },
    /// It cannot be read.
    #[error("read {path}: {}", describe(.cause))]
    Read {
        /// As given.
        path: String,
        /// Why not.
        cause: io::Error,
    },
    /// It does not end.
    #[error("{0} is larger than {mib} MiB: split it into several files", mib = MAX_BYTES >> 20)]
    TooLarge(String),
    /// It ends too early; the text is Go's.
    #[error("unexpected end of JSON input")]
    End,
    /// A word that is neither null, true nor false; the text is Go's.
    #[error("invalid character {found:?} in literal {literal} (expecting {expected:?})")]
    Literal {
        /// What stands there.
        found: char,
        /// What it could have become.
        literal: &'static str,
        /// What should stand there.
        expected: char,
    },
    /// Not JSON in another way.
    #[error("invalid JSON: {0}")]
    Json(#[source] serde_json::Error),
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// Reads a file, or standard input for `-`, as JSON. A byte order mark at its start is skipped.
///
/// # Errors
/// When it cannot be read, is too large, or is not JSON.
pub(super) fn json(path: &str) -> Result<Value, Error> {
    let bytes = read(path)?;
    parse(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes))
}

fn read(path: &str) -> Result<Vec<u8>, Error> {
    if path == "-" {
        return bounded(io::stdin().lock(), "standard input");
    }
    let file = File::open(path).map_err(|cause| Error::Open { path: path.to_owned(), cause })?;
    bounded(file, path)
}

fn bounded(from: impl Read, path: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells input of the largest size from larger input.
    from.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|cause| Error::Read { path: path.to_owned(), cause })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
        if error.is_eof() {
            return Error::End;
        }
        broken_literal(bytes, &error).unwrap_or(Error::Json(error))
    })
}

/// Go's message for a word that begins like a literal, which is what people see who pipe a message of
/// some other program into `-data -`.
fn broken_literal(bytes: &[u8], error: &serde_json::Error) -> Option<Error> {
    let line = bytes.split(|byte| *byte == b'\n').nth(error.line().checked_sub(1)?)?;
    // The column is that of the first character that does not fit, counted from 1.
    let before = line.get(..error.column().checked_sub(1)?)?;
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic();
    let start = before.iter().rposition(|byte| !is_letter(byte)).map_or(0, |at| at + 1);
    let word = String::from_utf8_lossy(line.get(start..)?);
    let literal = ["null", "true", "false"]
        .into_iter()
        .find(|l| word.starts_with(l.get(..1).unwrap_or(l)))?;
    let (found, expected) =
        word.chars().zip(literal.chars()).find(|(found, expected)| found != expected)?;
    Some(Error::Literal { found, literal, expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse(text.as_bytes()).err().unwrap().to_string()
    }

    #[test]
    fn broken_json_is_refused_in_gos_words_where_people_know_them() {
        for (text, expected) in [
            ("not json", "invalid character 'o' in literal null (expecting 'u')"),
            ("{\n \"a\": tru3}", "invalid character '3' in literal true (expecting 'e')"),
            ("", "unexpected end of JSON input"),
            ("{\"entries\": [", "unexpected end of JSON input"),
        ] {
            assert_eq!(refusal(text), expected);
        }
        assert!(refusal("{'a': 1}").starts_with("invalid JSON: key must be a string at line 1"));
    }

    #[test]
    fn endless_input_is_refused_without_being_kept() {
        let error = bounded(io::repeat(b' '), "standard input").err().unwrap();
        assert_eq!(
            error.to_string(),
            "standard input is larger than 64 MiB: split it into several files"
        );
    }
}
