//! Keeps one ConfigMap holding the trust bundle: writes it when the bundle changes, and again when
//! somebody else has changed what it holds.
//!
//! Neither start nor readiness waits for it: agents that run get the bundle from the server, and only new
//! ones read it from here. Needs the verbs `get` and `patch` on the one map, and `create` if it shall be
//! made; no `watch`, which nobody grants. One task for each map runs [`Keeper::run`].

use super::{
    form,
    metrics::{PlaceMetrics, PublishMetrics},
};
use crate::{
    k8s::{Access, KubeClient, KubeError},
    runtime::{
        Backoff, Reader, Shutdown,
        backoff::jittered,
        complaint::{Complaint, Noted},
    },
    server::{config::BundleMap, store::Store},
    spiffe::{Bundle, TrustDomain, bundle_doc::DocumentError},
};
use std::{collections::BTreeMap, future, sync::Arc, time::Duration};
use tokio::time::sleep;

/// A minute: what somebody else wrote hurts the agents that start meanwhile and no others, and a `get` a
/// minute is nothing to an API server.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_AT_MOST: Duration = Duration::from_secs(30);

/// What keeps one ConfigMap.
pub(in crate::server) struct Keeper {
    map: BundleMap,
    client: KubeClient,
    store: Store,
    trust_domain: TrustDomain,
    metrics: PlaceMetrics,
    written: Option<Arc<Bundle>>,
    complaint: Complaint,
}

/// What there was to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Held,
    Written,
}

/// Why a ConfigMap does not hold the bundle.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error(
        "this server may not {verb} ConfigMap {map}: allow its service account the verbs get and patch on \
         configmaps of this name in this namespace"
    )]
    Forbidden { verb: &'static str, map: String, source: KubeError },
    #[error(
        "ConfigMap {map} does not exist and this server may not create it: create it, or allow the \
         server's service account the verb create"
    )]
    Missing { map: String, source: KubeError },
    #[error("cannot {verb} ConfigMap {map}")]
    Kube { verb: &'static str, map: String, source: KubeError },
    #[error("the bundle cannot be written down")]
    Document(#[from] DocumentError),
}

impl Keeper {
    pub(in crate::server) fn new(
        map: BundleMap,
        store: Store,
        trust_domain: TrustDomain,
        metrics: &PublishMetrics,
    ) -> Self {
        let access = map.kube_config_file.clone().map_or(Access::InCluster, Access::Kubeconfig);
        let place = match &map.kube_config_file {
            Some(file) => format!("{}:{map}", file.display()),
            None => map.to_string(),
        };
        let metrics = metrics.of(&place);
        let (client, complaint) = (KubeClient::new(access), Complaint::default());
        Self { map, client, store, trust_domain, metrics, written: None, complaint }
    }

    /// Keeps it until `shutdown`.
    pub(in crate::server) async fn run(mut self, shutdown: Shutdown) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_AT_MOST);
        let mut changes = self.store.sequence();
        loop {
            changes.take_current();
            let bundle = self.store.bundle(&self.trust_domain);
            let kept = tokio::select! {
                biased;
                () = shutdown.requested() => return,
                kept = self.keep(bundle.as_deref()) => kept,
            };
            let wait = match kept {
                Ok(kept) => {
                    backoff.reset();
                    self.praise(kept, bundle.as_ref());
                    jittered(LOOK_EVERY, 0.1)
                }
                Err(error) => {
                    self.complain(&error);
                    backoff.next_delay()
                }
            };
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                () = sleep(wait) => {}
                () = self.another(&mut changes, bundle.as_deref()) => {}
            }
        }
    }

    /// Looks, and writes if what is there is not what shall be. Dropping it is safe.
    async fn keep(&self, bundle: Option<&Bundle>) -> Result<Kept, PublishError> {
        let Some(bundle) = bundle else { return Ok(Kept::Held) };
        let BundleMap { namespace, name, manager, keys, .. } = &self.map;
        let wanted = keys
            .iter()
            .map(|(key, form)| Ok((key.clone(), form::text(bundle, *form)?)))
            .collect::<Result<BTreeMap<_, _>, DocumentError>>()?;
        let found = self.client.config_map(namespace, name).await;
        let found = found.map_err(|source| self.failed("get", source))?;
        let holds = |(key, text)| found.as_ref().is_some_and(|data| data.get(key) == Some(text));
        if wanted.iter().all(holds) {
            return Ok(Kept::Held);
        }
        let applied = self.client.apply_config_map(manager, namespace, name, wanted).await;
        applied.map(|()| Kept::Written).map_err(|source| match found {
            None if source.is_forbidden() => {
                PublishError::Missing { map: self.map.to_string(), source }
            }
            _ => self.failed("patch", source),
        })
    }

    fn failed(&self, verb: &'static str, source: KubeError) -> PublishError {
        let map = self.map.to_string();
        if source.is_forbidden() {
            PublishError::Forbidden { verb, map, source }
        } else {
            PublishError::Kube { verb, map, source }
        }
    }

    /// Waits for a bundle other than this one; dropping it is safe.
    async fn another(&self, changes: &mut Reader<u64>, known: Option<&Bundle>) {
        loop {
            if changes.changed().await.is_err() {
                return future::pending().await;
            }
            if self.store.bundle(&self.trust_domain).as_deref() != known {
                return;
            }
        }
    }

    fn praise(&mut self, kept: Kept, bundle: Option<&Arc<Bundle>>) {
        self.metrics.current.set(1);
        let is_recovered = self.complaint.settle();
        let was_written_before = self.written.as_ref() == bundle;
        self.written = bundle.map(Arc::clone);
        let sequence = bundle.map(|bundle| bundle.sequence());
        match kept {
            Kept::Written if was_written_before => {
                tracing::warn!(config_map = %self.map, sequence, "trust bundle restored: somebody changed it");
            }
            Kept::Written => {
                tracing::info!(config_map = %self.map, sequence, "trust bundle published");
            }
            Kept::Held if is_recovered => {
                tracing::info!(config_map = %self.map, sequence, "trust bundle is published");
            }
            Kept::Held => {}
        }
    }

    fn complain(&mut self, error: &PublishError) {
        self.metrics.current.set(0);
        self.metrics.failures.inc();
        if let Noted::New(error) = self.complaint.note(error) {
            tracing::warn!(config_map = %self.map, error, "trust bundle not published");
        }
    }
}
