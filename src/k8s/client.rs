//! A client of one Kubernetes API server: made when it is first needed, kept, and made anew when its
//! credentials or its connection are of no use, so that rotated files are picked up.
//!
//! Owns deadlines and the bound on calls at once. Knows nothing of what is asked; runs in the tasks of
//! those who ask.

use super::error::KubeError;
use crate::runtime::TaskSet;
use arc_swap::ArcSwapOption;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use std::{fmt, future::Future, path::PathBuf, sync::Arc, time::Duration};
use tokio::{runtime::Handle, sync::Semaphore, time::timeout};

/// How a program comes to its API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// By the service account of the pod that it runs in.
    InCluster,
    /// By what this kubeconfig file says.
    Kubeconfig(PathBuf),
}

/// A client of one API server. Clones share it.
#[derive(Clone)]
pub struct KubeClient(Arc<Shared>);

struct Shared {
    access: Access,
    client: ArcSwapOption<Client>,
    places: Semaphore,
}

/// 8 s, the wait for a place included: the three calls of a node's attestation fit into the 30 s for
/// which an agent waits.
const CALL_WITHIN: Duration = Duration::from_secs(8);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A thousand agents at once must not become a thousand calls at once.
const MAX_CALLS: usize = 64;

impl KubeClient {
    /// A client that nobody has used yet.
    #[must_use]
    pub fn new(access: Access) -> Self {
        let places = Semaphore::new(MAX_CALLS);
        Self(Arc::new(Shared { access, client: ArcSwapOption::empty(), places }))
    }

    /// Asks the API server. Dropping the future gives the call up.
    ///
    /// # Errors
    /// When it does not answer in time, or refuses.
    pub async fn call<T, F>(&self, ask: impl FnOnce(Client) -> F) -> Result<T, KubeError>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let answer = async {
            let _place = self.0.places.acquire().await.map_err(|_| KubeError::Ending)?;
            let client = self.client().await?;
            Ok(ask(client).await?)
        };
        let answer =
            timeout(CALL_WITHIN, answer).await.unwrap_or(Err(KubeError::Timeout(CALL_WITHIN)));
        if answer.as_ref().is_err_and(KubeError::concerns_client) {
            self.forget();
        }
        answer
    }

    /// Forgets the client: the next one reads its files anew.
    pub fn forget(&self) {
        self.0.client.store(None);
    }

    /// The client that is there, or a new one. Should two be made at once, one of them is kept. For what
    /// lasts longer than a call; whoever takes it asks again after a failure.
    ///
    /// # Errors
    /// When none can be made of the files that there are.
    pub async fn client(&self) -> Result<Client, KubeError> {
        if let Some(client) = self.0.client.load_full() {
            return Ok(Client::clone(&client));
        }
        let access = self.0.access.clone();
        let runtime = Handle::current();
        // Files are read, and a kubeconfig may name a command that gives the credentials.
        let made = TaskSet::blocking(move || runtime.block_on(make(access))).await;
        let client = made.map_err(|_| KubeError::Ending)??;
        self.0.client.store(Some(Arc::new(client.clone())));
        Ok(client)
    }
}

impl fmt::Debug for KubeClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KubeClient").field(&self.0.access).finish()
    }
}

async fn make(access: Access) -> Result<Client, KubeError> {
    let mut config = match access {
        Access::InCluster => {
            Config::incluster().map_err(|source| KubeError::NotInCluster(Box::new(source)))?
        }
        Access::Kubeconfig(path) => {
            let read = async {
                let file = Kubeconfig::read_from(&path)?;
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await
            };
            let read = read.await.map_err(Box::new);
            read.map_err(|source| KubeError::Kubeconfig { path: path.clone(), source })?
        }
    };
    config.connect_timeout = Some(CONNECT_WITHIN);
    // Whoever asks decides whether and when to ask again.
    config.default_retry = false;
    Client::try_from(config).map_err(|error| KubeError::Setup(Box::new(error)))
}

#[cfg(test)]
mod tests;
