//! A Unix socket that the kubelet finds: bound under another name, served, then published by rename.
//!
//! Unlike an agent's socket it is removed at the end, because its name is a message: the kubelet takes a
//! plugin for gone when its registration socket is. What another driver has published there since is
//! left alone.

use super::service::Services;
use crate::{
    runtime::{Shutdown, TaskSet, tasks::BlockingError},
    transport::{
        Acceptor, Greeting, Limits, Takeover,
        accept::AcceptError,
        greeting::GreetingError,
        serve_all,
        uds::{self, BindError},
    },
};
use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};
use tonic::service::Routes;

/// The kubelet is root, and nobody else has business here.
const MODE: u32 = 0o600;
/// The kubelet makes a connection for each call, all from one process, and up to 110 pods start at once.
const LIMITS: Limits = Limits { connections: 1_024, per_process: 1_024 };

/// A socket that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Its name.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Its first octets.
    #[error(transparent)]
    Greeting(#[from] GreetingError),
    /// Its accept loop.
    #[error(transparent)]
    Accept(#[from] AcceptError),
    /// It was gone as soon as it was there.
    #[error("looking at the published socket {}", path.display())]
    Vanished {
        /// Where it was.
        path: PathBuf,
        /// Why it cannot be seen.
        source: io::Error,
    },
    /// Binding was cut short.
    #[error(transparent)]
    Blocking(#[from] BlockingError),
}

/// A socket under its public name.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    /// Tells it from another driver's under the same name.
    file: (u64, u64),
}

impl Socket {
    /// Serves `routes` at `path` until `shutdown`, as tasks of `tasks`. A live finial driver that has the
    /// name loses it, as an upgrade wants.
    pub(super) async fn serve(
        path: &Path,
        routes: Routes,
        tasks: &TaskSet,
        shutdown: &Shutdown,
    ) -> Result<Self, ListenError> {
        let bound = path.to_owned();
        let (listener, publication) =
            TaskSet::blocking(move || uds::bind(&bound, MODE, Takeover::Replace)).await??;
        // The kubelet is on the host, whose processes a pod without `hostPID` does not see; who may connect is
        // decided by the mode of the socket.
        let acceptor = Acceptor::start_for_anybody(listener, Greeting::record()?, LIMITS)?;
        publication.publish()?;
        let services = Services(routes.prepare());
        let serving =
            serve_all(acceptor, tasks.clone(), shutdown.clone(), move |_| services.clone());
        tasks.spawn("csi listener", serving);
        let file =
            file(path).map_err(|source| ListenError::Vanished { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Takes the name away, unless another driver has it by now.
    pub(super) fn withdraw(&self) {
        let removed = match file(&self.path) {
            Ok(found) if found == self.file => fs::remove_file(&self.path),
            _ => return,
        };
        if let Err(error) = removed {
            tracing::warn!(path = %self.path.display(), %error, "socket left behind");
        }
    }
}

fn file(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}
