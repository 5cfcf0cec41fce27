//! Attestation by projected service account token (server.md §5.1): an agent shows the token that the
//! kubelet gave its pod, and the API server that issued it says which pod that is, on which node.
//!
//! Of what the agent sends only the token is believed, and only what the API server says of it. The
//! questions are asked here; what the answers are worth is decided in [`claim`].

pub mod claim;
pub mod error;

pub use claim::TYPE;
pub use error::PsatError;

use super::admission::Proven;
use crate::{
    k8s::{Access, KubeClient},
    server::config::PsatCluster,
    spiffe::TrustDomain,
};
use claim::{Claim, Site};
use error::{Refusal, Step};
use serde::Deserialize;
use std::{collections::BTreeMap, sync::Arc};

/// A token has one or two KiB; the API server takes it in a header, which ends at 1 MiB.
const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// Attests by service account token. Clones share their clients.
#[derive(Clone)]
pub struct K8sPsat {
    trust_domain: TrustDomain,
    clusters: Arc<BTreeMap<String, Cluster>>,
}

struct Cluster {
    config: PsatCluster,
    api: KubeClient,
}

/// What an agent sends.
#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    cluster: String,
    #[serde(default)]
    token: String,
}

impl K8sPsat {
    /// Attests agents of these clusters. No API server is asked before the first agent comes.
    #[must_use]
    pub fn new(trust_domain: TrustDomain, clusters: &BTreeMap<String, PsatCluster>) -> Self {
        let cluster = |config: &PsatCluster| {
            let access = config.kube_config_file.clone().map(Access::Kubeconfig);
            let api = KubeClient::new(access.unwrap_or(Access::InCluster));
            Cluster { config: config.clone(), api }
        };
        let clusters = clusters.iter().map(|(name, config)| (name.clone(), cluster(config)));
        Self { trust_domain, clusters: Arc::new(clusters.collect()) }
    }

    /// Finds out who sent `payload`. Dropping it gives the questions up.
    ///
    /// # Errors
    /// Why that is not known.
    pub async fn prove(&self, payload: &[u8]) -> Result<Proven, PsatError> {
        let Payload { cluster: name, token } = read(payload)?;
        let cluster =
            self.clusters.get(&name).ok_or_else(|| PsatError::UnknownCluster(name.clone()))?;
        let Cluster { config, api } = cluster;
        let refused = |refusal: Refusal| refusal.of_cluster(&name);
        let unanswered = |step: Step| step.unanswered(&name);

        let reviewed = api.review_token(&token, &config.audience).await;
        let verdict = reviewed.map_err(unanswered(Step::Token))?;
        let claim = Claim::read(verdict, config).map_err(refused)?;

        let found = api.pod(&claim.namespace, &claim.pod_name).await;
        let pod = found.map_err(unanswered(Step::Pod))?;
        claim.check_pod(&pod).map_err(refused)?;

        let found = api.node(&pod.node_name).await;
        let node = found.map_err(unanswered(Step::Node))?;
        claim.check_node(&node).map_err(refused)?;

        let site = Site { cluster: &name, config, claim: &claim, pod: &pod, node: &node };
        let id = site.agent_id(&self.trust_domain).map_err(refused)?;
        Ok(Proven { id, attestation_type: TYPE, selectors: site.selectors().map_err(refused)? })
    }
}

fn read(payload: &[u8]) -> Result<Payload, PsatError> {
    // The parser's own words may repeat the token.
    let payload: Payload = serde_json::from_slice(payload)
        .map_err(|error| PsatError::Payload { line: error.line(), column: error.column() })?;
    if payload.cluster.is_empty() {
        return Err(PsatError::NoCluster);
    }
    if payload.token.is_empty() {
        return Err(PsatError::NoToken);
    }
    if payload.token.len() > MAX_TOKEN_BYTES {
        return Err(PsatError::TokenTooLong {
            length: payload.token.len(),
            limit: MAX_TOKEN_BYTES,
        });
    }
    Ok(payload)
}

#[cfg(test)]
mod tests;
