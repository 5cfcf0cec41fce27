//! Many sidecars at once, from one plan.

use super::{check::Checks, sidecar, tally::Tally};
use finial::{
    runtime::{Shutdown, TaskSet},
    spiffe::SpiffeId,
    testing::sds::FirstMessage,
};
use std::{
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// What the sidecars do.
#[derive(Clone)]
pub(crate) struct Plan {
    /// The SDS socket, of whichever product.
    pub(crate) socket: PathBuf,
    /// How many sidecars.
    pub(crate) connections: usize,
    /// What each asks for.
    pub(crate) names: Names,
    /// How large the first message of each stream is.
    pub(crate) first_message: FirstMessage,
    /// How many may be without their first secrets at one time; all of them when `None`.
    pub(crate) at_once: Option<usize>,
    /// One answer in so many is verified to the last signature.
    pub(crate) verify_every: u64,
    /// Connections that others have made, by the number of the sidecar that takes it over.
    pub(crate) made: Arc<Mutex<Vec<Option<UnixStream>>>>,
    /// The identity that names other than SPIFFE IDs stand for, if it is known.
    pub(crate) default: Option<SpiffeId>,
}

/// Which names the sidecars ask for, one per stream.
#[derive(Clone)]
pub(crate) enum Names {
    /// All of them for the same.
    Same(Vec<String>),
    /// Each for an identity of its own, in turn, and all for the others.
    Own {
        /// The identities, given out in turn.
        identities: Vec<SpiffeId>,
        /// What all ask for besides.
        others: Vec<String>,
    },
}

/// Running sidecars. Dropping it hangs up on the server.
pub(crate) struct Fleet {
    shared: Arc<Shared>,
    shutdown: Shutdown,
    tasks: TaskSet,
}

/// What the sidecars of a fleet share.
pub(super) struct Shared {
    pub(super) plan: Plan,
    pub(super) tally: Tally,
    pub(super) checks: Checks,
    turns: Option<Arc<Semaphore>>,
}

impl Plan {
    /// `connections` that ask for `default` and `ROOTCA`, at once, one answer in a hundred verified.
    pub(crate) fn istio(socket: PathBuf, connections: usize) -> Self {
        Self {
            socket,
            connections,
            names: Names::Same(vec!["default".to_owned(), "ROOTCA".to_owned()]),
            first_message: FirstMessage::Small,
            at_once: None,
            verify_every: 100,
            made: Arc::default(),
            default: None,
        }
    }
}

impl Names {
    /// How many streams each sidecar has.
    pub(crate) fn streams(&self) -> usize {
        match self {
            Self::Same(names) => names.len(),
            Self::Own { others, .. } => 1 + others.len(),
        }
    }

    pub(super) fn of(&self, sidecar: usize) -> Vec<String> {
        match self {
            Self::Same(names) => names.clone(),
            Self::Own { identities, others } => {
                let own = identities.get(sidecar % identities.len().max(1));
                own.map(ToString::to_string).into_iter().chain(others.iter().cloned()).collect()
            }
        }
    }
}

impl Fleet {
    /// Starts every sidecar on the current runtime and returns at once.
    pub(crate) fn launch(plan: Plan) -> Self {
        let (shutdown, tasks) = (Shutdown::new(), TaskSet::new());
        let connections = plan.connections;
        let shared = Arc::new(Shared {
            tally: Tally::new(connections, plan.names.streams()),
            checks: Checks::new(plan.verify_every, plan.default.clone()),
            turns: plan.at_once.map(|count| Arc::new(Semaphore::new(count))),
            plan,
        });
        for number in 0..connections {
            let (shared, ended) = (Arc::clone(&shared), shutdown.clone());
            tasks.spawn("sidecar", async move {
                tokio::select! {
                    biased;
                    () = ended.requested() => {}
                    () = sidecar::run(&shared, number) => {}
                }
            });
        }
        Self { shared, shutdown, tasks }
    }

    /// How many sidecars there are.
    pub(crate) fn connections(&self) -> usize {
        self.shared.plan.connections
    }

    /// What the sidecars have seen.
    pub(crate) fn tally(&self) -> &Tally {
        &self.shared.tally
    }

    /// Waits until every stream has its first secret, or the run is spoilt, at most `patience`;
    /// whether every one has.
    pub(crate) async fn served(&self, patience: Duration) -> bool {
        let done = |seen: &super::tally::Seen| {
            seen.waiting == 0 || seen.broken.count > 0 || seen.wrong.count > 0
        };
        self.tally().wait(Instant::now() + patience, done).await;
        self.tally().look(|seen| seen.waiting == 0)
    }

    /// Closes every connection and waits until that is done.
    pub(crate) async fn hang_up(self) {
        self.shutdown.request();
        self.tasks.finish(Duration::from_secs(10)).await;
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

impl Shared {
    /// The connection that was made for sidecar `number`.
    pub(super) fn made(&self, number: usize) -> Option<UnixStream> {
        let mut made = self.plan.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.get_mut(number)?.take()
    }

    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(self.turns.as_ref()?).acquire_owned().await.ok()
    }
}
