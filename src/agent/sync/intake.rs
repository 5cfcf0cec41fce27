//! From the server's messages to the cache and the trust in the server: what is understood counts, what
//! is not is left out and said.

use crate::{
    agent::{
        cache::{EntryWriter, Update},
        identity::Trust,
        metrics::UpkeepMetrics,
    },
    runtime::TaskSet,
    spiffe::{Bundle, Entry, TrustDomain},
    wire::{bundle, entry, proto::spire::api::types},
};
use std::sync::Arc;

/// Where the server's word goes.
pub(super) struct Intake {
    pub(super) trust_domain: TrustDomain,
    pub(super) entries: EntryWriter,
    pub(super) trust: Arc<Trust>,
    pub(super) reading: Reading,
}

/// Understands messages and counts what cannot be understood.
#[derive(Clone, Debug)]
pub(super) struct Reading(pub(super) UpkeepMetrics);

impl Intake {
    /// Takes an update into use, the cache first: that is what workloads wait for.
    pub(super) async fn take(&self, update: Update) {
        let own = update.bundles.iter().find(|b| *b.trust_domain() == self.trust_domain).cloned();
        self.entries.apply(update);
        let Some(own) = own else { return };
        let trust = Arc::clone(&self.trust);
        let learned = TaskSet::blocking(move || trust.learn(own)).await;
        match learned {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the bundle cannot be stored"),
            Err(error) => tracing::debug!(%error, "ending"),
        }
    }
}

impl Reading {
    pub(super) fn entry(&self, wire: &types::Entry) -> Option<Entry> {
        match entry::entry(wire) {
            Ok(entry) => Some(entry),
            Err(error) => {
                tracing::warn!(entry = wire.id, %error, "entry left out");
                self.0.entry_dropped();
                None
            }
        }
    }

    pub(super) fn bundle(&self, wire: &types::Bundle) -> Option<Bundle> {
        match bundle::bundle(wire) {
            Ok(bundle) => Some(bundle),
            Err(error) => {
                tracing::warn!(%error, "bundle left out; the last one stays in use");
                None
            }
        }
    }
}
