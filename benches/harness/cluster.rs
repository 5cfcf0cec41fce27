//! A cluster as its API server tells of it, and a controller between it and a server of entries.

use super::{
    process::Process,
    product::Product,
    server::{Server, TRUST_DOMAIN},
};
use anyhow::{Context, ensure};
use finial::testing::apiserver::ApiServer;
use serde_json::{Value, json};
use std::{fs, time::Duration};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Objects, and a server without entries.
pub(crate) struct Cluster {
    /// Where the objects are.
    pub(crate) api: ApiServer,
    /// Where the entries are.
    pub(crate) server: Server,
    dir: TempDir,
}

const NODES: usize = 100;
const NAMESPACES: usize = 50;
/// How closely it is looked when entries are there.
const LOOK_EVERY: Duration = Duration::from_millis(1);

impl Cluster {
    /// So many pods on a hundred nodes, each in one of fifty namespaces.
    pub(crate) async fn of(pods: usize) -> anyhow::Result<Self> {
        let cluster = Self {
            api: ApiServer::start().await,
            server: Server::start().await?,
            dir: tempfile::tempdir()?,
        };
        for number in 0..NODES {
            cluster.put("v1", "Node", &format!("node-{number}"), json!({"spec": {}}));
        }
        for number in 0..NAMESPACES {
            cluster.put("v1", "Namespace", &format!("ns-{number}"), json!({}));
        }
        for number in 0..pods {
            cluster.add_pod(number);
        }
        Ok(cluster)
    }

    /// A ClusterSPIFFEID for every pod, whose identities are below `path`.
    pub(crate) fn declare(&self, path: &str) {
        let id = "spiffe://{{ .TrustDomain }}/PATH/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}";
        let spec = json!({"spec": {"spiffeIDTemplate": id.replace("PATH", path)}});
        self.put("spire.spiffe.io/v1alpha1", "ClusterSPIFFEID", path, spec);
    }

    fn put(&self, version: &str, kind: &str, name: &str, mut object: Value) {
        object["apiVersion"] = json!(version);
        object["kind"] = json!(kind);
        object["metadata"] = json!({"name": name, "uid": format!("uid-of-{name}")});
        self.api.put(object);
    }

    /// The pod of this number, as large as one of an Istio mesh without its status.
    pub(crate) fn add_pod(&self, number: usize) {
        let variables: Vec<_> = (0..20)
            .map(|n| json!({"name": format!("VARIABLE_{n}"), "value": format!("value-{n}-of-{number}")}))
            .collect();
        let container = |name: &str| {
            json!({
                "name": name, "image": format!("registry.example.org/team/{name}:1.2.{}", number % 40),
                "env": variables, "ports": [{"containerPort": 8080, "name": "http"}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "token", "mountPath": "/token"}],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
            })
        };
        self.api.put(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": format!("app-{number}"), "namespace": format!("ns-{}", number % NAMESPACES),
                "uid": format!("00000000-0000-4000-8000-{number:012}"),
                "labels": {
                    "app": format!("app-{}", number % 500), "pod-template-hash": format!("{:x}", number % 900),
                    "security.istio.io/tlsMode": "istio", "service.istio.io/canonical-revision": "latest",
                },
                "annotations": {"prometheus.io/scrape": "true", "sidecar.istio.io/status": "x".repeat(400)},
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": true,
                    "name": format!("app-{}", number % 500), "uid": format!("owner-{}", number % 500),
                }],
            },
            "spec": {
                "nodeName": format!("node-{}", number % NODES),
                "serviceAccountName": format!("sa-{}", number % 500),
                "containers": [container("app"), container("istio-proxy")],
            },
            "status": {"phase": "Running"},
        }));
    }

    /// Starts a controller that lists the server's entries as often as `full_pass` says.
    pub(crate) fn controller(&self, full_pass: &str) -> anyhow::Result<Process> {
        let config = self.dir.path().join("config.yaml");
        let text = format!(
            "clusterName: bench\ntrustDomain: {TRUST_DOMAIN}\nspireServerSocketPath: {}\nlogLevel: warn\n\
             gcInterval: {full_pass}\nwebhook: {{host: 127.0.0.1, port: 0}}\n",
            self.server.socket.display()
        );
        fs::write(&config, text)?;
        let text = |path: &std::path::Path| {
            path.to_str().map(str::to_owned).context("a temporary path that is UTF-8")
        };
        let (config, kubeconfig) = (text(&config)?, text(&self.api.kubeconfig(self.dir.path()))?);
        let args = ["-config", &config, "-kubeconfig", &kubeconfig];
        let log = self.dir.path().join("controller.log");
        Process::start(&Product::Finial, "spire-controller-manager", &args, &log)
    }

    /// Waits until the server has so many entries; how long it took.
    pub(crate) async fn until_entries(
        &self,
        controller: &mut Process,
        count: usize,
        within: Duration,
    ) -> anyhow::Result<Duration> {
        let started = Instant::now();
        loop {
            let now = self.server.admin.count().await?;
            if now >= count {
                return Ok(started.elapsed());
            }
            controller.check_alive()?;
            let said = || format!("{now} entries, wanted {count}: {}", controller.said());
            ensure!(started.elapsed() < within, said());
            sleep(LOOK_EVERY).await;
        }
    }
}
