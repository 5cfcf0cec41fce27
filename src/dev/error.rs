//! Why `finial dev` fails, and what its user can do about it.

use super::{
    directory::DirectoryError,
    envoy::{AdminError, EnvoyError, binary::BinaryError},
    mesh::MeshError,
    options::OptionsError,
    programs::ProgramError,
};
use crate::telemetry::log::LogError;
use std::io;

/// Why `finial dev` does not run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The options.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The state directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Nobody reads what is shown.
    #[error("cannot write what is to be shown")]
    Screen(#[source] io::Error),
    /// The server or the agent.
    #[error(transparent)]
    Programs(#[from] ProgramError),
    /// The Envoy binary.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// The mesh.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// An Envoy has ended or never became ready.
    #[error(transparent)]
    Envoy(#[from] EnvoyError),
    /// The load could not be judged.
    #[error("the server envoy does not say how many handshakes it made")]
    Handshakes(#[source] AdminError),
}

impl DevError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Binary(error) | Self::Mesh(MeshError::Binary(error)) => {
                Some(error.hint().to_owned())
            }
            Self::Directory(_) => Some("choose another with -data-dir".to_owned()),
            Self::Programs(_) | Self::Envoy(_) | Self::Mesh(_) => {
                Some("run it again with -data-dir and read the logs there".to_owned())
            }
            _ => None,
        }
    }
}
