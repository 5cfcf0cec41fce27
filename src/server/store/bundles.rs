//! Trust bundles: the own one, which the CA adds its authorities to, and those of other trust domains.

use super::{error::StoreError, open::Store, tables::Effect, transaction::Transaction};
use crate::{
    spiffe::{Bundle, TrustDomain, bundle::X509Authority},
    x509::Certificate,
};
use rusqlite::params;
use std::{sync::Arc, time::SystemTime};

impl Store {
    /// The bundle of a trust domain.
    #[must_use]
    pub fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        self.read(|tables| tables.bundles.get(trust_domain).cloned())
    }

    /// All bundles, by the name of their trust domain.
    #[must_use]
    pub fn bundles(&self) -> Vec<Arc<Bundle>> {
        self.read(|tables| tables.bundles.values().cloned().collect())
    }

    /// Adds an authority to a bundle, which is created when there is none. The sequence grows by one
    /// when the authority is new, and not otherwise.
    ///
    /// # Errors
    /// When it was not written.
    pub async fn append_x509_authority(
        &self,
        trust_domain: &TrustDomain,
        certificate: Certificate,
    ) -> Result<Arc<Bundle>, StoreError> {
        let trust_domain = trust_domain.clone();
        self.write(move |transaction| {
            let current = transaction.bundle(&trust_domain);
            let mut authorities =
                current.as_ref().map_or_else(Vec::new, |bundle| bundle.x509_authorities().to_vec());
            match current {
                Some(bundle)
                    if authorities.iter().any(|known| known.certificate == certificate) =>
                {
                    Ok(bundle)
                }
                current => {
                    authorities.push(X509Authority { certificate, tainted: false });
                    put(transaction, trust_domain, current.as_deref(), authorities)
                }
            }
        })
        .await
    }

    /// Makes sure that a bundle that was kept elsewhere is not forgotten: it is stored as it is when there
    /// is none, and its authorities are added otherwise. The sequence never goes back behind either's.
    /// Returns the bundle that there is then.
    ///
    /// # Errors
    /// When it was not written.
    pub async fn adopt_bundle(&self, kept: Bundle) -> Result<Arc<Bundle>, StoreError> {
        self.write(move |transaction| {
            let Some(known) = transaction.bundle(kept.trust_domain()) else {
                return insert(transaction, Arc::new(kept));
            };
            let mut authorities = known.x509_authorities().to_vec();
            let is_missing = |kept: &&X509Authority| {
                known.x509_authorities().iter().all(|held| held.certificate != kept.certificate)
            };
            authorities.extend(kept.x509_authorities().iter().filter(is_missing).cloned());
            let is_complete = authorities.len() == known.x509_authorities().len();
            if is_complete && known.sequence() >= kept.sequence() {
                return Ok(known);
            }
            let adopted = Bundle::new(
                known.trust_domain().clone(),
                authorities,
                known.jwt_authorities().to_vec(),
                known.sequence().max(kept.sequence()) + 1,
                known.refresh_hint_secs(),
            );
            insert(transaction, Arc::new(adopted))
        })
        .await
    }

    /// Removes the authorities of a bundle that ended before `expired_before`, but never the last one.
    /// Returns the bundle if it changed.
    ///
    /// # Errors
    /// When it was not written.
    pub async fn prune_authorities(
        &self,
        trust_domain: &TrustDomain,
        expired_before: SystemTime,
    ) -> Result<Option<Arc<Bundle>>, StoreError> {
        let trust_domain = trust_domain.clone();
        self.write(move |transaction| {
            let Some(current) = transaction.bundle(&trust_domain) else { return Ok(None) };
            let is_alive = |known: &&X509Authority| known.certificate.not_after() >= expired_before;
            let kept: Vec<_> =
                current.x509_authorities().iter().filter(is_alive).cloned().collect();
            if kept.is_empty() || kept.len() == current.x509_authorities().len() {
                return Ok(None);
            }
            put(transaction, trust_domain, Some(&current), kept).map(Some)
        })
        .await
    }
}

/// Stores `current` with other X.509 authorities and the next sequence.
fn put(
    transaction: &mut Transaction<'_>,
    trust_domain: TrustDomain,
    current: Option<&Bundle>,
    x509_authorities: Vec<X509Authority>,
) -> Result<Arc<Bundle>, StoreError> {
    let bundle = Bundle::new(
        trust_domain,
        x509_authorities,
        current.map_or_else(Vec::new, |bundle| bundle.jwt_authorities().to_vec()),
        current.map_or(0, Bundle::sequence) + 1,
        current.map_or(0, Bundle::refresh_hint_secs),
    );
    insert(transaction, Arc::new(bundle))
}

/// Stores `bundle` instead of the one that its trust domain had.
fn insert(
    transaction: &mut Transaction<'_>,
    bundle: Arc<Bundle>,
) -> Result<Arc<Bundle>, StoreError> {
    let name = bundle.trust_domain().name();
    let sequence = i64::try_from(bundle.sequence()).unwrap_or(i64::MAX);
    transaction.execute(
        "INSERT OR REPLACE INTO bundles VALUES (?, ?, ?)",
        params![name, sequence, bundle.refresh_hint_secs()],
    )?;
    transaction.execute("DELETE FROM x509_authorities WHERE trust_domain = ?", [name])?;
    for authority in bundle.x509_authorities() {
        transaction.execute(
            "INSERT INTO x509_authorities (trust_domain, certificate, tainted) VALUES (?, ?, ?)",
            params![name, authority.certificate.der().as_ref(), authority.tainted],
        )?;
    }
    transaction.record(Effect::PutBundle(Arc::clone(&bundle)));
    Ok(bundle)
}
