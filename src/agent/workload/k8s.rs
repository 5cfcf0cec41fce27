//! The `k8s` attestor: which pod and container a process runs in, and what the kubelet says of them.
//!
//! Selectors and their meaning are SPIRE's (SPIRE 1.15: workloadattestor/k8s). A container that the
//! kubelet does not list yet is waited for; one that is in no pod has no selectors, which is an answer.

use super::{
    cgroup::{CgroupError, Container},
    listing::{Listing, Unlisted},
    process::{ProcessError, cgroup_file},
};
use crate::{
    agent::config::{ContainerSelectors, K8s, KubeletAddress, NodeName},
    k8s::{
        kubelet::{Kubelet, KubeletError},
        pods::{ContainerStatus, Pod, PodList, TwoPods},
    },
    spiffe::{Selector, selector},
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::Instant;

/// Attests processes by their pods.
#[derive(Debug)]
pub struct K8sAttestor {
    listing: Listing,
    container_selectors: ContainerSelectors,
    /// How long a container is waited for that is not listed.
    patience: Duration,
    attest_again_every: Duration,
    /// The agent's own cgroup file.
    own_groups: Vec<u8>,
}

/// Why the attestor cannot tell, which is never the same as having nothing to tell.
#[derive(Debug, thiserror::Error)]
pub enum K8sError {
    /// /proc does not say.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// /proc says two things.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The kubelet's list is not to be had.
    #[error("the kubelet does not say which pods there are")]
    Kubelet(#[from] KubeletError),
    /// The kubelet's list names the container twice (SPIRE's words).
    #[error(transparent)]
    TwoPods(#[from] TwoPods),
    /// The kubelet does not list the container (SPIRE's words).
    #[error(
        "no selectors found after max poll attempts: the kubelet does not list container {id} of pod {pod:?}"
    )]
    Unlisted {
        /// The container.
        id: String,
        /// Its pod, where the runtime says it.
        pod: Option<String>,
    },
    /// A fact makes no selector.
    #[error("cannot describe the caller")]
    Selector(#[from] selector::Error),
}

/// What the selectors of this attestor begin with.
pub const KIND: &str = "k8s";

impl K8sAttestor {
    /// An attestor that asks the kubelet of `config`.
    #[must_use]
    pub fn new(config: &K8s) -> Self {
        Self {
            listing: Listing::new(kubelet(&config.kubelet), config.poll_retry_interval),
            container_selectors: config.container_selectors,
            patience: config.poll_retry_interval.saturating_mul(config.max_poll_attempts),
            attest_again_every: config.attest_again_every,
            // Without it paths are read from their root.
            own_groups: cgroup_file(std::process::id()).unwrap_or_default(),
        }
    }

    /// After how long a process may be told otherwise.
    #[must_use]
    pub const fn attest_again_every(&self) -> Duration {
        self.attest_again_every
    }

    /// The selectors of process `pid`; none when it runs in no container. Waits for a container that
    /// the kubelet does not list yet. Dropping the future is safe.
    ///
    /// # Errors
    /// When any part cannot be found out.
    pub async fn attest(&self, pid: i32) -> Result<Vec<Selector>, K8sError> {
        let groups = cgroup_file(pid.unsigned_abs())?;
        let Some(container) = Container::locate(&groups, &self.own_groups)? else {
            return Ok(Vec::new());
        };
        let since = Instant::now();
        let mut newer_than = None;
        loop {
            let listed = match self.listing.newer_than(newer_than, since).await {
                Ok(listed) => listed,
                Err(Unlisted { error, last }) => {
                    // The kubelet restarts: who was listed is who it was, while its container runs.
                    return match last.map(|list| self.describe(&container, &list)).transpose()? {
                        Some(Some(selectors)) => {
                            tracing::warn!(pid, %error, "attested by the kubelet's last answer");
                            Ok(selectors)
                        }
                        _ => Err(error.into()),
                    };
                }
            };
            if let Some(selectors) = self.describe(&container, &listed.list)? {
                return Ok(selectors);
            }
            if listed.asked_at.saturating_duration_since(since) >= self.patience {
                let pod = container.pod.map(|pod| pod.to_string());
                return Err(K8sError::Unlisted { id: container.id.to_string(), pod });
            }
            newer_than = Some(listed.asked_at);
        }
    }

    /// The selectors of a container, if it is listed.
    fn describe(
        &self,
        container: &Container,
        list: &PodList,
    ) -> Result<Option<Vec<Selector>>, K8sError> {
        let id = container.id.as_str();
        let pod = match &container.pod {
            Some(uid) => list.pod(uid.as_str()),
            None => list.pod_of_container(id)?,
        };
        let Some(pod) = pod else { return Ok(None) };
        // Another pod that claims the container would make it anybody's.
        list.pod_of_container(id)?;
        let values = match (self.container_selectors, pod.status.container(id)) {
            (ContainerSelectors::Omitted, _) => of_pod(pod),
            (ContainerSelectors::Given, Some(container)) => {
                let mut values = of_pod(pod);
                values.extend(of_container(container));
                values
            }
            (ContainerSelectors::Given, None) => return Ok(None),
        };
        let selectors = values.iter().map(|value| Selector::new(KIND, value));
        Ok(Some(selectors.collect::<Result<_, _>>()?))
    }
}

fn kubelet(address: &KubeletAddress) -> Kubelet {
    match address.clone() {
        KubeletAddress::ReadOnly { port } => Kubelet::ReadOnly { port },
        KubeletAddress::Secure { port, node_name, verification, authentication } => {
            let node_name = match node_name {
                NodeName::Given(name) => Some(name),
                NodeName::Variable(_) => None,
            };
            Kubelet::Secure { port, node_name, verification, authentication }
        }
    }
}

/// What every container of a pod is told by.
fn of_pod(pod: &Pod) -> Vec<String> {
    let Pod { metadata, spec, status } = pod;
    let (containers, init) = (&status.container_statuses, &status.init_container_statuses);
    let mut values = vec![
        format!("sa:{}", spec.service_account_name),
        format!("ns:{}", metadata.namespace),
        format!("node-name:{}", spec.node_name),
        format!("pod-uid:{}", metadata.uid),
        format!("pod-name:{}", metadata.name),
        format!("pod-image-count:{}", containers.len()),
        format!("pod-init-image-count:{}", init.len()),
    ];
    values.extend(images("pod-image", containers));
    values.extend(images("pod-init-image", init));
    values.extend(metadata.labels.iter().map(|(key, value)| format!("pod-label:{key}:{value}")));
    for owner in &metadata.owner_references {
        values.push(format!("pod-owner:{}:{}", owner.kind, owner.name));
        values.push(format!("pod-owner-uid:{}:{}", owner.kind, owner.uid));
    }
    values
}

/// What one container is told by.
fn of_container(container: &ContainerStatus) -> Vec<String> {
    let mut values = vec![format!("container-name:{}", container.name)];
    values.extend(images("container-image", [container]));
    values
}

/// Each image by its name and by its digest, once.
fn images<'a>(
    kind: &str,
    containers: impl IntoIterator<Item = &'a ContainerStatus>,
) -> Vec<String> {
    let images: BTreeSet<_> = containers
        .into_iter()
        .flat_map(|container| [&container.image, &container.image_id])
        .filter(|image| !image.is_empty())
        .collect();
    images.into_iter().map(|image| format!("{kind}:{image}")).collect()
}

#[cfg(test)]
mod tests;
