//! A serving half in a directory of its own, for tests that play the sidecars themselves: every entry
//! matches the test's own process unless it says otherwise.

use super::{
    agent::{self, ServingAgent},
    ca::TestCa,
};
use crate::{
    agent::cache::{Signed, Update, UpdateKind},
    spiffe::{Bundle, Entry, EntryId, SpiffeId},
    transport::Takeover,
};
use std::{ops::Deref, sync::Arc, time::Duration};
use tempfile::TempDir;

/// A [`ServingAgent`] of `example.org` with its authority.
pub struct ServedAgent {
    agent: ServingAgent,
    /// The authority of `example.org`.
    pub ca: TestCa,
    _directory: TempDir,
}

/// How long the SVIDs live that are signed here.
const LIFE: Duration = Duration::from_secs(3_600);

impl ServedAgent {
    /// Serves nothing yet: the cache is not even synced.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ca = TestCa::new("example.org", crate::runtime::Clock::system().now());
        let path = directory.path().join("public/socket");
        let agent = ServingAgent::start_unsynced(&path, &ca, Takeover::Refuse).await;
        Self { agent, ca, _directory: directory }
    }

    /// As [`ServedAgent::start`], synced, with one identity `spiffe://example.org/w` for this process.
    pub async fn start_with_identity() -> Self {
        let agent = Self::start().await;
        agent.apply(UpdateKind::Snapshot, vec![agent.entry("w")], vec![agent.ca.bundle(1, &[])]);
        agent.sign_due();
        agent
    }

    /// The ID `spiffe://example.org/<name>`.
    #[must_use]
    pub fn id(&self, name: &str) -> SpiffeId {
        self.ca.trust_domain().member(&format!("/{name}")).unwrap()
    }

    /// An entry with that ID that matches this process.
    #[must_use]
    pub fn entry(&self, name: &str) -> Entry {
        let uid = rustix::process::geteuid().as_raw();
        self.entry_for(name, &[&format!("unix:uid:{uid}")])
    }

    /// An entry with that ID for processes that have `selectors`.
    #[must_use]
    pub fn entry_for(&self, name: &str, selectors: &[&str]) -> Entry {
        let spec = agent::spec(self.id(name).as_str(), selectors);
        Entry { id: EntryId::parse(name).unwrap(), revision: 0, created_at: 1, spec }
    }

    /// What a server would say.
    pub fn apply(&self, kind: UpdateKind, entries: Vec<Entry>, bundles: Vec<Bundle>) {
        let (removed_entries, removed_bundles) = (Vec::new(), Vec::new());
        self.entries.apply(Update { kind, entries, removed_entries, bundles, removed_bundles });
    }

    /// Removes an entry.
    pub fn remove(&self, name: &str) {
        self.entries.apply(Update {
            kind: UpdateKind::Delta,
            entries: Vec::new(),
            removed_entries: vec![EntryId::parse(name).unwrap()],
            bundles: Vec::new(),
            removed_bundles: Vec::new(),
        });
    }

    /// Signs what is due, as the renewal task would.
    pub fn sign_due(&self) {
        for entry in self.svids.take_due(10_000) {
            self.renew(&self.ca, &entry);
        }
    }

    /// Gives every entry a new SVID by `ca`, due or not.
    pub fn rotate(&self, ca: &TestCa) {
        for entry in self.cache.snapshot().entries {
            self.renew(ca, &entry);
        }
    }

    fn renew(&self, ca: &TestCa, entry: &Arc<Entry>) {
        let svid = ca.svid(&entry.spec.spiffe_id, LIFE);
        let (now, own) = (self.clock.now(), self.cache.own_bundle().unwrap());
        let signed = Signed::verify(Arc::clone(entry), svid, now + LIFE / 2, &own, now).unwrap();
        assert_eq!(self.svids.install(vec![signed]), []);
    }
}

impl Deref for ServedAgent {
    type Target = ServingAgent;

    fn deref(&self) -> &ServingAgent {
        &self.agent
    }
}
