//! A configuration file: its bytes within limits, its variables expanded, its syntax read as HCL 1 or JSON.
//!
//! It knows no key. The environment is an argument, so that only `cli` touches the process's own.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::{Fault, SyntaxError};
use super::expand::expand;
use super::tree::{Entry, Position};
use super::{Cause, Error, Origin, Problems, Section, hcl, json, value};

/// 1 MiB: the largest sample is 20 KiB, and a file that is not a configuration should not fill memory.
const MAX_BYTES: u64 = 1 << 20;

/// What `$NAME` means in a file.
#[derive(Clone, Copy)]
pub enum Environment<'e> {
    /// Itself.
    Literal,
    /// The variable this function finds, as `-expandEnv` asks.
    Expanded(&'e dyn Fn(&str) -> Option<String>),
}

/// The text of a configuration file.
pub struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If there is none, it cannot be read or is too large, and whatever [`Source::new`] refuses.
    pub fn open(path: &Path, environment: Environment<'_>) -> Result<Self, Error> {
        let bytes = read(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::Missing { path: value::absolute(path) },
            _ => Error::Unreadable { path: path.to_owned(), source },
        })?;
        Self::new(path, bytes, environment)
    }

    /// Takes the bytes of a file.
    ///
    /// # Errors
    ///
    /// If they are too many or not UTF-8, or a variable to expand does not exist.
    pub fn new(path: &Path, bytes: Vec<u8>, environment: Environment<'_>) -> Result<Self, Error> {
        let path = path.to_owned();
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if length > MAX_BYTES {
            let limit = MAX_BYTES;
            return Err(Error::TooLarge { path, limit });
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let before = error.as_bytes().get(..valid).unwrap_or_default();
                return Err(Error::Syntax {
                    path,
                    at: end_of(&String::from_utf8_lossy(before)),
                    fault: Fault::NotUtf8,
                });
            }
        };
        // A byte order mark is what some editors leave; CRLF is one line end, as HCL 1 has it.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n");
        let text = match environment {
            Environment::Literal => text,
            Environment::Expanded(environment) => {
                expand(&text, environment).map_err(|undefined| {
                    let mut problems = Problems::of(&path);
                    for variable in undefined {
                        let name = variable.name;
                        problems.push(
                            "",
                            Some(Origin::File(variable.at)),
                            Cause::UndefinedVariable { name },
                        );
                    }
                    Error::Invalid { problems }
                })?
            }
        };
        Ok(Self { path, text })
    }

    /// Where it comes from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text, for a program whose file is neither HCL 1 nor JSON.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Reads the settings of the file as a table, and all that is wrong with them.
    ///
    /// # Errors
    ///
    /// If the file is neither HCL 1 nor JSON.
    pub fn read<T>(
        &self,
        read: impl FnOnce(&mut Section<'_, '_>) -> T,
    ) -> Result<(T, Problems), Error> {
        let entries = self.parse().map_err(|error| Error::Syntax {
            path: self.path.clone(),
            at: error.at,
            fault: error.fault,
        })?;
        let mut problems = Problems::of(&self.path);
        let table = Section::root(&entries, &mut problems, |root| read(root));
        Ok((table, problems))
    }

    fn parse(&self) -> Result<Vec<Entry>, SyntaxError> {
        if self.text.trim_start().starts_with('{') {
            json::parse(&self.text)
        } else {
            hcl::parse(&self.text)
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file of the largest size from a larger one.
    File::open(path)?.take(MAX_BYTES.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn end_of(text: &str) -> Position {
    text.chars().fold(Position::START, |at, character| at.after(character))
}

#[cfg(test)]
mod tests;
