//! What a display shows of a running agent, read at any time and from any thread.

use crate::{
    agent::{
        identity::Standing,
        metrics::{ServeMetrics, UpkeepMetrics},
        sync::SyncStatus,
        upkeep::Insight,
    },
    runtime::Reader,
    spiffe::SpiffeId,
    x509::cert::Serial,
};
use std::time::{Duration, SystemTime};

/// A view into a running agent.
#[derive(Clone)]
pub struct Observer {
    pub(super) insight: Insight,
    pub(super) serve: ServeMetrics,
    pub(super) upkeep: UpkeepMetrics,
}

/// An identity that the agent serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedIdentity {
    /// The entry that gives it.
    pub entry_id: String,
    /// Who it is.
    pub spiffe_id: SpiffeId,
    /// The leaf's serial number.
    pub serial: Serial,
    /// When the SVID starts.
    pub not_before: SystemTime,
    /// When it ends.
    pub not_after: SystemTime,
}

impl Observer {
    /// Bumped whenever entries, SVIDs or bundles change.
    #[must_use]
    pub fn changes(&self) -> Reader<u64> {
        self.insight.cache.generation()
    }

    /// The identities, in the order of their SPIFFE IDs.
    #[must_use]
    pub fn identities(&self) -> Vec<ServedIdentity> {
        let svids = self.insight.cache.snapshot().svids.into_iter();
        let mut identities: Vec<_> = svids
            .filter_map(|stored| {
                let leaf = stored.svid.chain().first()?;
                Some(ServedIdentity {
                    entry_id: stored.entry.id.to_string(),
                    spiffe_id: stored.svid.id().clone(),
                    serial: leaf.serial().clone(),
                    not_before: leaf.not_before(),
                    not_after: stored.svid.not_after(),
                })
            })
            .collect();
        identities.sort_by(|a, b| {
            (a.spiffe_id.as_str(), &a.entry_id).cmp(&(b.spiffe_id.as_str(), &b.entry_id))
        });
        identities
    }

    /// Where the agent stands with its server.
    #[must_use]
    pub fn standing(&self) -> Reader<Standing> {
        self.insight.identity.standing()
    }

    /// How synchronisation is going.
    #[must_use]
    pub fn sync(&self) -> Reader<SyncStatus> {
        self.insight.sync.clone()
    }

    /// The sequence of the own bundle that all streams have acknowledged.
    #[must_use]
    pub fn served_sequence(&self) -> Reader<u64> {
        self.insight.cache.served_sequence().reader()
    }

    /// Responses sent so far.
    #[must_use]
    pub fn pushes(&self) -> u64 {
        self.serve.pushes()
    }

    /// SVIDs taken into use so far.
    #[must_use]
    pub fn svids_signed(&self) -> u64 {
        self.upkeep.svids_signed()
    }

    /// The latest times from a change to its push, oldest first.
    #[must_use]
    pub fn recent_push_delays(&self) -> Vec<Duration> {
        self.serve.recent_push_delays()
    }
}
