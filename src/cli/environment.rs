//! The process's environment and arguments, read here and nowhere else.

use std::{env, ffi::OsString};

/// The arguments, the program's own name first.
pub(super) fn arguments() -> Vec<OsString> {
    env::args_os().collect()
}

/// A variable's value; none when it is unset or not UTF-8.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var_os(name)?.into_string().ok()
}
