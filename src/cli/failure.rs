//! How a command fails, whatever the cause: every error type becomes one, its words are kept.

use super::rpc;
use crate::dev::error::DevError;
use std::error::Error;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// To be told on stderr.
    Error(Box<dyn Error + Send + Sync>),
    /// Already told: the JSON on stdout says which items failed.
    Told,
    /// Nobody reads our output any more; there is nobody to tell.
    NoReader,
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error(Box::new(error))
    }
}

/// What to do next, when the cause suggests something.
pub(super) fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(call) = error.downcast_ref::<rpc::Error>() {
            return call.hint();
        }
        if let Some(dev) = error.downcast_ref::<DevError>() {
            return dev.hint();
        }
        cause = error.source();
    }
    None
}
