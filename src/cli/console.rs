//! The terminal or pipe a command writes to: data to stdout, everything else to stderr.

use super::{Failure, go::quote::printable_lines};
use std::io::{self, Write as _};

/// Standard output was not writable.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}")]
pub(super) struct WriteError(#[source] io::Error);

/// Writes `text` to stdout as it is; what was stored or received must be made printable before.
///
/// # Errors
/// When it cannot be written.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::NoReader),
        Err(error) => Err(WriteError(error).into()),
    }
}

/// Writes `text` to stderr, with every character that would act on a terminal escaped. That stderr is
/// closed could not be told anyway.
pub(super) fn tell(text: &str) {
    let _ignored = io::stderr().lock().write_all(printable_lines(text).as_bytes());
}
