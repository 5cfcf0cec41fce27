//! Starting the authority: from what the journal, the key store and the bundle hold to a [`Ca`] that can
//! certify the server's own key.

use super::{
    config::CaConfig,
    driver::{Rotation, RotationError},
    journal::{self, JournalError},
    keystore::{KeyStore, Memory},
    propagation::Propagation,
    sign::Ca,
    slot::Slots,
};
use crate::{
    runtime::Clock,
    server::store::{Store, StoreError},
    spiffe::bundle_doc::{self, DocumentError},
};

/// Why the authority does not start.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The journal is damaged. Starting over would cut every workload off.
    #[error(
        "the authority's journal is damaged: restore the data store from a backup, or the Secret if the \
         keys are in one"
    )]
    Journal(#[from] JournalError),
    /// The bundle that is remembered beside the keys is damaged.
    #[error(
        "the bundle beside the authority's keys is damaged: restore the Secret from a backup, or remove \
         journal.json and bundle.json from it to start with a new authority"
    )]
    Bundle(#[from] DocumentError),
    /// The store does not take what is remembered beside the keys.
    #[error("cannot store the bundle that is remembered beside the authority's keys")]
    Store(#[from] StoreError),
    /// A missing authority cannot be made or published.
    #[error(transparent)]
    Rotation(#[from] RotationError),
}

impl Ca {
    /// Loads the authority, or makes, publishes and activates the first one of the trust domain. When the
    /// last one was lost or ended meanwhile, a new one is published; it signs for agents at once and for
    /// workloads when the bundle has reached them. The second value is the task that rotates.
    ///
    /// # Errors
    /// When the journal is damaged, or the first steps of a new authority fail.
    pub async fn start(
        config: CaConfig,
        keys: KeyStore,
        store: Store,
        clock: Clock,
        propagation: Propagation,
    ) -> Result<(Self, Rotation), CaError> {
        // Where the keys outlive the data, what they remember decides: the data may be older, or another's.
        let journal = match keys.memory() {
            Some(Memory { journal, bundle }) => {
                let bundle = bundle_doc::read(config.trust_domain.clone(), &bundle)?;
                store.adopt_bundle(bundle).await?;
                Some(journal)
            }
            None => store.ca_journal(),
        };
        let records = journal.map_or_else(|| Ok(Vec::new()), |bytes| journal::decode(&bytes))?;
        let bundle = store.bundle(&config.trust_domain);
        let slots = Slots::load(records, &keys, bundle.as_deref(), clock.now());
        warn_of_cut_lives(&config);
        let ca = Self::new(config, clock);
        let mut rotation = Rotation::new(ca.shared(), keys, store, propagation, slots);
        rotation.settle().await?;
        Ok((ca, rotation))
    }
}

/// An authority signs until a sixth of its life is left (at most 7 days), so SVIDs that shall live longer
/// end with it (SPIRE warns of the same).
fn warn_of_cut_lives(config: &CaConfig) {
    const WEEK: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 60 * 60);
    let longest = (config.ca_ttl / 6).min(WEEK);
    for (name, ttl) in
        [("default_x509_svid_ttl", config.default_x509_svid_ttl), ("agent_ttl", config.agent_ttl)]
    {
        if ttl > longest {
            tracing::warn!(
                setting = name,
                ttl_secs = ttl.as_secs(),
                longest_secs = longest.as_secs(),
                ca_ttl_secs = config.ca_ttl.as_secs(),
                "SVIDs may end earlier than configured: their authority ends first, raise ca_ttl"
            );
        }
    }
}
