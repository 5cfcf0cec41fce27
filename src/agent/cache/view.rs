//! What one kind of caller may see at one moment: immutable, shared by all its streams, and holding
//! the encoded forms of what is in it once somebody asked.

use crate::spiffe::{Bundle, Entry, TrustDomain, X509Svid};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{fmt, sync::Arc, time::SystemTime};
use tokio::time::Instant;

/// The identities and bundles of one selector set.
#[derive(Clone, Debug)]
pub struct View {
    /// The server (or the state of an earlier run) has said what there is; before that, nothing here
    /// means nothing known.
    pub is_synced: bool,
    /// Ready identities, the default one first.
    pub identities: Vec<Arc<Identity>>,
    /// Matching entries whose SVID is not there yet.
    pub pending: usize,
    /// The bundles that these identities verify peers with.
    pub bundles: Arc<BundleSet>,
    /// When the view was made.
    pub made_at: Instant,
}

/// An entry with the SVID that was signed for it.
pub struct Identity {
    /// The entry.
    pub entry: Arc<Entry>,
    /// Its SVID.
    pub svid: X509Svid,
    /// Encoded forms, made when first served.
    pub encoded: Memo,
}

/// The own trust domain's bundle with those of the trust domains that some identities federate with.
pub struct BundleSet {
    /// The own bundle; none before the first sync.
    pub own: Option<Arc<Bundle>>,
    /// Foreign bundles by trust domain name.
    pub federated: Vec<Arc<Bundle>>,
    /// Encoded forms, made when first served.
    pub encoded: Memo,
}

/// Encoded forms of one immutable thing, by the name and manner in which they were asked for.
#[derive(Default)]
pub struct Memo(Mutex<Vec<(MemoKey, Bytes)>>);

/// What makes an encoded form differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoKey {
    /// The name that the resource is served under.
    pub name: Arc<str>,
    /// Which of the encodings of that name.
    pub variant: u8,
}

impl View {
    /// A view of a caller of whom nothing is known.
    pub(super) fn empty(bundles: Arc<BundleSet>) -> Self {
        Self {
            is_synced: false,
            identities: Vec::new(),
            pending: 0,
            bundles,
            made_at: Instant::now(),
        }
    }

    /// The identities whose SVID is valid at `now`: an SVID may end while its view is current.
    pub fn valid_identities(&self, now: SystemTime) -> impl Iterator<Item = &Arc<Identity>> {
        self.identities.iter().filter(move |identity| identity.svid.is_valid_at(now))
    }
}

impl BundleSet {
    pub(super) fn new(own: Option<Arc<Bundle>>, federated: Vec<Arc<Bundle>>) -> Arc<Self> {
        Arc::new(Self { own, federated, encoded: Memo::default() })
    }

    /// Own and foreign bundles that hold at least one authority, sorted by trust domain: an empty one
    /// would make Envoy refuse the whole secret (istio-envoy.md §14).
    #[must_use]
    pub fn all(&self) -> Vec<&Arc<Bundle>> {
        let mut bundles: Vec<_> = self
            .own
            .iter()
            .chain(&self.federated)
            .filter(|bundle| !bundle.x509_authorities().is_empty())
            .collect();
        bundles.sort_by(|a, b| a.trust_domain().cmp(b.trust_domain()));
        bundles
    }

    /// The bundle of `trust_domain`, if it is here and holds an authority.
    #[must_use]
    pub fn of(&self, trust_domain: &TrustDomain) -> Option<&Arc<Bundle>> {
        self.all().into_iter().find(|bundle| bundle.trust_domain() == trust_domain)
    }
}

impl Memo {
    /// The encoded form under `key`, made by `encode` when it is not there yet.
    pub fn get_or_encode(&self, key: MemoKey, encode: impl FnOnce() -> Bytes) -> Bytes {
        let mut known = self.0.lock();
        if let Some((_, bytes)) = known.iter().find(|(present, _)| *present == key) {
            return bytes.clone();
        }
        let bytes = encode();
        known.push((key, bytes.clone()));
        bytes
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("id", self.svid.id()).finish_non_exhaustive()
    }
}

impl fmt::Debug for BundleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.own.iter().chain(&self.federated).map(|bundle| bundle.trust_domain());
        f.debug_list().entries(names).finish()
    }
}
