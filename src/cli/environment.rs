//! The process's environment and arguments, read here and nowhere else.

use std::{env, ffi::OsString, io, path::PathBuf};

/// The arguments, the program's own name first.
pub(super) fn arguments() -> Vec<OsString> {
    env::args_os().collect()
}

/// A variable's value; none when it is unset or not UTF-8.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var_os(name)?.into_string().ok()
}

/// The directory for what nobody keeps.
pub(super) fn temporary() -> PathBuf {
    env::temp_dir()
}

/// This program's own file could not be found.
#[derive(Debug, thiserror::Error)]
#[error("cannot find the file of this program: {0}")]
pub(super) struct ProgramError(#[source] io::Error);

/// The file of this program.
///
/// # Errors
/// When the system does not tell.
pub(super) fn program() -> Result<PathBuf, ProgramError> {
    env::current_exe().map_err(ProgramError)
}
