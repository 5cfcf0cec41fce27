//! The exit codes of every program.

use std::process::ExitCode;

/// How a program ended. The numbers are SPIRE's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done, or help was asked for and shown.
    Success,
    /// Not done, or not all of it.
    Failure,
    /// There is no such command.
    UnknownCommand,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::UnknownCommand => 127,
        })
    }
}
