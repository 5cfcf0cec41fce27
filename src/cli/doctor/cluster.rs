//! The doctor's way to the cluster: by the caller's kubeconfig, as kubectl finds it.

use crate::{
    cli::{Failure, environment, flags::FlagSet, go::duration::GoDuration, rpc::runtime},
    doctor::{
        Finding,
        cluster::{findings, look},
    },
    k8s::{Access, KubeClient, KubeError},
};
use std::{path::PathBuf, time::Duration};
use tokio::time::timeout;

/// Which cluster is examined.
#[derive(Debug)]
pub(super) struct Cluster {
    kubeconfig: String,
    istio_namespace: String,
}

/// The cluster could not be examined.
#[derive(Debug, thiserror::Error)]
enum ClusterError {
    /// No kubeconfig, and no pod's service account.
    #[error(
        "no cluster is known: set KUBECONFIG or give -kubeconfig; to examine a process of this node, \
         give -pid"
    )]
    Unknown,
    /// kubectl merges them.
    #[error("KUBECONFIG names several files, {0:?}: give the one that counts with -kubeconfig")]
    SeveralFiles(String),
    /// It is asked a dozen times, and each answer has its own limit.
    #[error("the Kubernetes API has not answered all questions within {}: -timeout waits longer", GoDuration(*.0))]
    Deadline(Duration),
    /// There is nobody to ask, or nobody who knows the caller.
    #[error(transparent)]
    Kube(#[from] KubeError),
}

impl Default for Cluster {
    fn default() -> Self {
        Self { kubeconfig: String::new(), istio_namespace: "istio-system".to_owned() }
    }
}

impl Cluster {
    pub(super) fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        flags.add(
            "kubeconfig",
            &mut self.kubeconfig,
            "The kubeconfig file of the cluster; without it, as kubectl finds one",
        );
        flags.add("istioNamespace", &mut self.istio_namespace, "Where Istio is");
    }

    /// What there is to say of the cluster.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub(super) fn findings(&self, deadline: Duration) -> Result<Vec<Finding>, Failure> {
        let client = KubeClient::new(self.access()?);
        let looked = async { timeout(deadline, look(&client, &self.istio_namespace)).await };
        let seen = runtime()?.block_on(looked).map_err(|_| ClusterError::Deadline(deadline))?;
        Ok(findings(&seen.map_err(ClusterError::Kube)?))
    }

    /// In kubectl's order.
    fn access(&self) -> Result<Access, ClusterError> {
        let variable = |name| environment::variable(name).filter(|text| !text.is_empty());
        let own = (!self.kubeconfig.is_empty()).then(|| self.kubeconfig.clone());
        if let Some(path) = own {
            return Ok(Access::Kubeconfig(path.into()));
        }
        if let Some(paths) = variable("KUBECONFIG") {
            if paths.contains(':') {
                return Err(ClusterError::SeveralFiles(paths));
            }
            return Ok(Access::Kubeconfig(paths.into()));
        }
        let usual = variable("HOME").map(|home| PathBuf::from(home).join(".kube/config"));
        if let Some(path) = usual.filter(|path| path.exists()) {
            return Ok(Access::Kubeconfig(path));
        }
        // What a client in a pod goes by.
        variable("KUBERNETES_SERVICE_HOST").map(|_| Access::InCluster).ok_or(ClusterError::Unknown)
    }
}
