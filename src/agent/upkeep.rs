//! Everything behind the workload socket: the state of the last process, the agent's identity, the
//! connection to the server, and the renewal of SVIDs. Opened first, so that the socket can be served
//! from what there is; started when it is.

use crate::{
    agent::{
        cache::{Cache, CacheConfig},
        config::AgentConfig,
        identity::{Identity, IdentityHandle, Parts, Trust, own_svid},
        metrics::UpkeepMetrics,
        node_attestation::NodeAttestor,
        renew::{Renewal, RenewalParts},
        storage::{Handover, Keys, NodeFile, file::FileError},
        succession,
        sync::{Sync, SyncParts, SyncStatus},
        upstream::{Connection, Upstream},
    },
    runtime::{Clock, Reader, Shutdown, TaskSet, ready::Readiness, tasks::BlockingError},
    spiffe::SpiffeId,
};
use std::sync::Arc;

/// The parts, ready to start.
pub struct Upkeep {
    cache: Cache,
    identity: Identity,
    handle: IdentityHandle,
    sync: Sync,
    renewal: Renewal,
    handover: Option<Handover>,
    /// Who the last process was.
    last: Option<SpiffeId>,
    clock: Clock,
}

/// What may be asked while they run.
#[derive(Clone)]
pub struct Insight {
    /// What is served.
    pub cache: Cache,
    /// Who the agent is.
    pub identity: IdentityHandle,
    /// How synchronisation is going.
    pub sync: Reader<SyncStatus>,
    /// The connection that stands.
    pub connection: Reader<Option<Connection>>,
}

impl Upkeep {
    /// Opens the agent's own state. Blocks, for milliseconds.
    ///
    /// # Errors
    /// When the directories for the agent's state cannot be used.
    pub fn open(
        config: &AgentConfig,
        upstream: Upstream,
        handover: Option<Handover>,
        readiness: &Readiness,
        metrics: &UpkeepMetrics,
        clock: &Clock,
    ) -> Result<Self, FileError> {
        let node = Arc::new(NodeFile::open(&config.data_dir, clock.unix_now())?);
        let keys = Arc::new(Keys::open(&config.key_manager, clock.unix_now())?);
        let (cache, entries, svids) = Cache::new(CacheConfig {
            trust_domain: config.trust_domain.clone(),
            clock: clock.clone(),
            max_svids: config.x509_svid_cache_max_size,
        });
        let last = own_svid::stored_id(&node.state(), &config.trust_domain);
        let (trust_domain, source) = (config.trust_domain.clone(), config.bootstrap.clone());
        let trust = Trust::open(trust_domain, source, Arc::clone(&node), clock.clone());
        let trust = Arc::new(trust);
        let (identity, handle) = Identity::open(Parts {
            trust_domain: config.trust_domain.clone(),
            upstream: upstream.clone(),
            attestor: Arc::new(NodeAttestor::new(&config.node_attestor)),
            trust: Arc::clone(&trust),
            keys,
            node,
            handover: handover.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        });
        let sync = Sync::new(SyncParts {
            trust_domain: config.trust_domain.clone(),
            upstream,
            trust,
            identity: handle.clone(),
            entries,
            served: cache.served_sequence().clone(),
            interval: config.sync_interval,
            ready: readiness.part("sync", "the server has not been heard yet"),
            clock: clock.clone(),
            metrics: metrics.clone(),
        });
        let renewal = Renewal::new(RenewalParts {
            cache: cache.clone(),
            svids,
            connection: sync.connection(),
            identity: handle.clone(),
            renew_every: config.renew_every,
            clock: clock.clone(),
            metrics: metrics.clone(),
        });
        let clock = clock.clone();
        Ok(Self { cache, identity, handle, sync, renewal, handover, last, clock })
    }

    /// What may be asked, now and while the tasks run.
    #[must_use]
    pub fn insight(&self) -> Insight {
        Insight {
            cache: self.cache.clone(),
            identity: self.handle.clone(),
            sync: self.sync.status(),
            connection: self.sync.connection(),
        }
    }

    /// Takes over what the last process left, then starts the tasks, which end at `shutdown`.
    ///
    /// # Errors
    /// When the runtime is ending.
    pub async fn start(self, tasks: &TaskSet, shutdown: &Shutdown) -> Result<(), BlockingError> {
        let Self { cache, identity, handle, sync, renewal, handover, last, clock } = self;
        let connection = sync.connection();
        let (inherited, adopted) = (handover.clone(), cache.clone());
        // Before the server's first word, which is newer.
        let (sync, renewal) = TaskSet::blocking(move || {
            if let (Some(handover), Some(agent)) = (inherited, last) {
                let (entries, svids) = (sync.entries(), renewal.svids());
                succession::adopt(&handover, &agent, &adopted, entries, svids, &clock);
            }
            (sync, renewal)
        })
        .await?;
        if let Some(handover) = handover {
            let kept = succession::keep(handover, cache, handle.standing(), shutdown.clone());
            tasks.spawn("succession", kept);
        }
        tasks.spawn("identity", identity.run(connection, shutdown.clone()));
        tasks.spawn("sync", sync.run(shutdown.clone()));
        tasks.spawn("renew", renewal.run(shutdown.clone()));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
