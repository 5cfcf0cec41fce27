//! Why the Kubernetes API server gave no answer, and who can do something about it.

use kube::{
    config::{InClusterError, KubeconfigError},
    core::Status,
};
use std::{path::PathBuf, time::Duration};

/// No answer of use from the API server.
#[derive(Debug, thiserror::Error)]
pub enum KubeError {
    /// The kubeconfig file cannot be read, or names no cluster.
    #[error("cannot use kubeconfig {}: {source}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<KubeconfigError>,
    },
    /// The files and variables that Kubernetes gives to a pod are not there.
    #[error(
        "this process does not run in a pod with a service account ({0}): set kube_config_file"
    )]
    NotInCluster(#[source] Box<InClusterError>),
    /// What the configuration names cannot be used: a certificate, a key, a command.
    #[error("cannot set up the client of the Kubernetes API: {0}")]
    Setup(#[source] Box<kube::Error>),
    /// A name that no object can have.
    #[error("{0:?} is no name of a Kubernetes object")]
    Name(String),
    /// The API server's own refusal.
    #[error("{} ({})", .0.message, .0.code)]
    Answer(#[source] Box<Status>),
    /// It cannot be reached, or what it says is no answer.
    #[error("the Kubernetes API does not answer: {0}")]
    Call(#[source] Box<kube::Error>),
    /// It said nothing for too long.
    #[error("the Kubernetes API has not answered within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The program is ending.
    #[error("the program is ending")]
    Ending,
}

/// Who can do something about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody: there is no such object.
    Missing,
    /// Time: the API server is away, overloaded or too slow.
    Away,
    /// An operator: no configuration, no rights, an answer that makes no sense.
    Setup,
}

impl KubeError {
    /// Who can do something about it.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Answer(status) => match status.code {
                404 => Fault::Missing,
                408 | 429 | 500.. => Fault::Away,
                _ => Fault::Setup,
            },
            Self::Call(error) => match **error {
                kube::Error::HyperError(_) | kube::Error::Service(_) => Fault::Away,
                _ => Fault::Setup,
            },
            Self::Timeout(_) | Self::Ending => Fault::Away,
            Self::Kubeconfig { .. } | Self::NotInCluster(_) | Self::Setup(_) | Self::Name(_) => {
                Fault::Setup
            }
        }
    }

    /// Whether the API server knows who asks and does not allow it.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Answer(status) if status.code == 403)
    }

    /// Whether somebody else was faster: the object is there already, or is not what it was.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Answer(status) if status.code == 409)
    }

    /// Whether another client, with its files read anew, may fare better: its credentials are refused,
    /// or its connection is of no use.
    pub(super) fn concerns_client(&self) -> bool {
        match self {
            Self::Answer(status) => status.code == 401,
            Self::Call(_) | Self::Timeout(_) => true,
            _ => false,
        }
    }
}

impl From<kube::Error> for KubeError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Answer(status),
            error => Self::Call(Box::new(error)),
        }
    }
}
