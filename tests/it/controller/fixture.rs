//! A cluster of objects, a server of entries, and controllers between them.

use crate::server::fixture as server;
use finial::{
    config::{Environment, Source},
    controller::{
        ControllerConfig,
        config::{file::RawController, validate::Surroundings},
        start::{Controller, RunningController},
    },
    runtime::Clock,
    server::{
        start::{RunningServer, Server},
        store::{Created, NewEntry},
    },
    spiffe::{Entry, EntryId, EntrySpec, SpiffeId},
    testing::apiserver::ApiServer,
};
use serde_json::{Value, json};
use std::{future::Future, path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::time::timeout;

/// Slow machines are slow; a test that fails waits this long.
const WITHIN: Duration = Duration::from_secs(30);
pub(super) const SPIFFE_IDS: &str = "/apis/spire.spiffe.io/v1alpha1/clusterspiffeids";
pub(super) const STATIC_ENTRIES: &str = "/apis/spire.spiffe.io/v1alpha1/clusterstaticentries";
pub(super) const TEMPLATE: &str =
    "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}";

/// A cluster and a server. No controller runs until it is started.
pub(crate) struct World {
    pub(crate) api: ApiServer,
    pub(crate) server: Option<RunningServer>,
    pub(super) dir: TempDir,
}

impl World {
    /// A cluster of one node and the namespace `prod`, and a server without entries.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(server::config(dir.path()), Clock::system()).await.unwrap();
        let api = ApiServer::start().await;
        api.put(node("n1"));
        api.put(namespace("prod", &json!({"team": "a"})));
        Self { api, server: Some(server), dir }
    }

    /// What a file with `extra` keys makes of a controller for this cluster and server.
    pub(crate) fn config(&self, extra: &str) -> ControllerConfig {
        let socket = self.dir.path().join("private/api.sock");
        let text = format!(
            "clusterName: c1\ntrustDomain: example.org\nspireServerSocketPath: {}\n{extra}",
            socket.display()
        );
        let surroundings = Surroundings {
            kubeconfig: Some(self.api.kubeconfig(self.dir.path())),
            enable_webhooks: Some(extra.contains("webhook").to_string()),
            ..Surroundings::default()
        };
        let source =
            Source::new(Path::new("c.yaml"), text.into_bytes(), Environment::Literal).unwrap();
        RawController::read(&source).unwrap().validate(&surroundings).unwrap().config
    }

    pub(crate) async fn controller(&self, extra: &str) -> RunningController {
        Controller::start(self.config(extra), Clock::system()).await.unwrap()
    }

    pub(super) fn server(&self) -> &RunningServer {
        self.server.as_ref().unwrap()
    }

    pub(super) async fn stop_server(&mut self) {
        self.server.take().unwrap().shutdown().await;
    }

    pub(super) async fn start_server(&mut self) {
        let config = server::config(self.dir.path());
        self.server = Some(Server::start(config, Clock::system()).await.unwrap());
    }

    pub(super) fn entries(&self) -> Vec<Arc<Entry>> {
        self.server().store().entries()
    }

    /// The paths of the SPIFFE IDs of all entries, sorted.
    pub(super) fn identities(&self) -> Vec<String> {
        let mut ids: Vec<_> =
            self.entries().iter().map(|e| e.spec.spiffe_id.path().to_owned()).collect();
        ids.sort();
        ids
    }

    /// Waits until the identities are these.
    pub(super) async fn until_identities(&self, wanted: &[&str]) {
        let mut changes = self.server().store().sequence();
        let reached = async {
            while self.identities() != wanted {
                changes.changed().await.unwrap();
            }
        };
        let is_reached = timeout(WITHIN, reached).await.is_ok();
        assert!(is_reached, "wanted {wanted:?}, there are {:?}", self.identities());
    }

    /// Waits until an object satisfies `accept`.
    pub(super) async fn until_object(
        &self,
        path: &str,
        accept: impl Fn(&Value) -> bool + Send + Sync,
    ) -> Value {
        let mut pulse = self.api.pulse();
        let found = async {
            loop {
                let object = self.api.object(path).unwrap_or_default();
                if accept(&object) {
                    return object;
                }
                pulse.changed().await.unwrap();
            }
        };
        let found = timeout(WITHIN, found).await;
        found
            .unwrap_or_else(|_| panic!("{path} is {:#}", self.api.object(path).unwrap_or_default()))
    }

    /// Waits until a request was made `times` times.
    pub(super) async fn until_asked(&self, request: &str, times: usize) {
        let count =
            |asked: &Vec<String>| asked.iter().filter(|one| *one == request).count() >= times;
        within(self.api.asked().wait_for(count)).await.unwrap();
    }

    /// How often a request was made.
    pub(super) fn asked(&self, request: &str) -> usize {
        self.api.asked().current().iter().filter(|one| *one == request).count()
    }

    /// Waits until what was declared before has been acted upon: a marker that comes after it has an entry.
    pub(super) async fn until_settled(&self, marker: &str) {
        let mut wanted = self.identities();
        wanted.push(format!("/{marker}"));
        wanted.sort();
        self.api.put(static_entry(marker));
        let mut changes = self.server().store().sequence();
        let is_there = || self.identities().contains(&format!("/{marker}"));
        within(async {
            while !is_there() {
                changes.changed().await.unwrap();
            }
        })
        .await;
    }

    /// Puts an entry into the server as an operator would.
    pub(super) async fn enter(&self, id: &str, path: &str) -> Arc<Entry> {
        self.enter_spec(id, server::spec(&server::id("/by-hand"), path)).await
    }

    pub(super) async fn enter_spec(&self, id: &str, spec: EntrySpec) -> Arc<Entry> {
        let id = Some(EntryId::parse(id).unwrap());
        let created = self.server().store().create_entries(vec![NewEntry { id, spec }]).await;
        match created.unwrap().into_iter().next().unwrap().unwrap() {
            Created::New(entry) | Created::Similar(entry) => entry,
        }
    }
}

pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(WITHIN, future).await.expect("it takes too long")
}

pub(crate) fn node(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "uid": format!("uid-of-{name}")}, "spec": {},
    })
}

pub(crate) fn namespace(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// A running pod on node `n1` with service account `name`.
pub(crate) fn pod(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": namespace, "name": name, "uid": format!("uid-of-{namespace}-{name}"),
            "labels": {"app": name},
        },
        "spec": {
            "nodeName": "n1", "serviceAccountName": name,
            "containers": [{"name": "main", "image": "example.org/main:1"}],
        },
        "status": {"phase": "Running"},
    })
}

pub(crate) fn spiffe_id(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterSPIFFEID",
        "metadata": {"name": name}, "spec": spec,
    })
}

pub(super) fn static_entry(name: &str) -> Value {
    json!({
        "apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterStaticEntry",
        "metadata": {"name": name},
        "spec": {
            "spiffeID": format!("spiffe://example.org/{name}"),
            "parentID": "spiffe://example.org/agent", "selectors": [format!("unix:user:{name}")],
        },
    })
}

pub(super) fn path_of_pod(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods/{name}")
}

/// The agent of node `n1`.
pub(super) fn agent() -> SpiffeId {
    server::id("/spire/agent/k8s_psat/c1/uid-of-n1")
}
