//! Asks a server that has no watch stream: entries, the own bundle and the federated ones, each
//! `sync_interval`.

use super::{
    authorized,
    error::SyncError,
    intake::{Intake, Reading},
    known::Known,
};
use crate::{
    agent::cache::{Update, UpdateKind},
    agent::metrics::UpkeepMetrics,
    spiffe::{Bundle, TrustDomain},
    transport::channel::MAX_MESSAGE_BYTES,
    wire::proto::spire::api::{
        server::bundle::v1::{
            GetBundleRequest, GetFederatedBundleRequest, bundle_client::BundleClient,
        },
        types,
    },
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::{collections::BTreeMap, future::Future, time::Duration};
use tokio::time::timeout;
use tonic::{Code, transport::Channel};

/// What one session has learned by asking.
pub(super) struct Poller {
    channel: Channel,
    reading: Reading,
    trust_domain: TrustDomain,
    known: Known,
    bundles: BTreeMap<TrustDomain, Bundle>,
    rounds: u64,
}

/// SPIRE's agent allows 30 s per call.
const CALL_WITHIN: Duration = Duration::from_secs(30);
/// SPIRE 1.15: as many at once.
const FEDERATED_AT_ONCE: usize = 10;

impl Poller {
    pub(super) fn new(channel: Channel, intake: &Intake) -> Self {
        Self {
            channel,
            reading: intake.reading.clone(),
            trust_domain: intake.trust_domain.clone(),
            known: Known::default(),
            bundles: BTreeMap::new(),
            rounds: 0,
        }
    }

    /// Asks for everything once. The first round gives a snapshot, later ones what has changed.
    pub(super) async fn round(&mut self, metrics: &UpkeepMetrics) -> Result<Update, SyncError> {
        // The bundle first: it must verify what is signed for the entries.
        let own = within(self.own_bundle()).await?;
        let channel = self.channel.clone();
        let difference =
            within(authorized::synchronise(channel, &mut self.known, &self.reading)).await?;
        let mut bundles = self.federated_bundles().await?;
        bundles.extend(own.map(|own| (self.trust_domain.clone(), own)));
        metrics.fetched(difference.stale);
        let gone = self.bundles.keys().filter(|name| !bundles.contains_key(name));
        let removed_bundles = gone.cloned().collect();
        let is_news =
            |(name, bundle): &(&TrustDomain, &Bundle)| self.bundles.get(name) != Some(bundle);
        let news = bundles.iter().filter(is_news).map(|(_, bundle)| bundle.clone()).collect();
        self.bundles = bundles;
        self.rounds += 1;
        Ok(Update {
            kind: if self.rounds == 1 { UpdateKind::Snapshot } else { UpdateKind::Delta },
            entries: difference.entries,
            removed_entries: difference.removed,
            bundles: news,
            removed_bundles,
        })
    }

    async fn own_bundle(&self) -> Result<Option<Bundle>, SyncError> {
        let found = self.client().get_bundle(GetBundleRequest::default()).await?.into_inner();
        let known = || self.bundles.get(&self.trust_domain).cloned();
        Ok(self.reading.bundle(&found).or_else(known))
    }

    async fn federated_bundles(&self) -> Result<BTreeMap<TrustDomain, Bundle>, SyncError> {
        stream::iter(self.known.federated())
            .map(|trust_domain| async {
                let found = within(self.federated_bundle(&trust_domain)).await?;
                Ok::<_, SyncError>(found.map(|bundle| (trust_domain, bundle)))
            })
            .buffer_unordered(FEDERATED_AT_ONCE)
            .try_filter_map(|found| async { Ok(found) })
            .try_collect()
            .await
    }

    /// A server that does not know the trust domain is no failure: the relationship may come later.
    async fn federated_bundle(&self, of: &TrustDomain) -> Result<Option<Bundle>, SyncError> {
        let trust_domain = of.name().to_owned();
        let request = GetFederatedBundleRequest { trust_domain, output_mask: None };
        let found: types::Bundle = match self.client().get_federated_bundle(request).await {
            Ok(found) => found.into_inner(),
            Err(status) if status.code() == Code::NotFound => {
                tracing::debug!(trust_domain = %of, "the server has no such bundle");
                return Ok(None);
            }
            Err(status) => return Err(status.into()),
        };
        Ok(self.reading.bundle(&found).or_else(|| self.bundles.get(of).cloned()))
    }

    fn client(&self) -> BundleClient<Channel> {
        BundleClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }
}

async fn within<T>(call: impl Future<Output = Result<T, SyncError>>) -> Result<T, SyncError> {
    timeout(CALL_WITHIN, call).await.map_err(|_| SyncError::Timeout(CALL_WITHIN))?
}
