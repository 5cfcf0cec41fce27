//! A Kubernetes API server on loopback, as far as finial asks one: token reviews, and single objects that
//! are read and written. It can fail, hang, go away and come back, and keeps a list of what it was asked.

use super::writes::{Call, Objects, Writes};
use crate::runtime::{Publisher, Reader, Shutdown, TaskSet};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};

/// A running API server.
pub struct ApiServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    tasks: TaskSet,
    presence: Shutdown,
}

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Answers,
    /// With this HTTP status, whatever it is asked.
    Fails(u16),
    /// Never.
    Hangs,
}

struct State {
    mood: Mood,
    /// Each token's status, as if it was asked for every audience.
    tokens: BTreeMap<String, Value>,
    /// Objects by their path.
    objects: Objects,
    writes: Writes,
    asked: Publisher<Vec<String>>,
}

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
/// For connections to notice that the server has gone away.
const END_WITHIN: Duration = Duration::from_secs(10);

impl ApiServer {
    /// Serves an empty cluster.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let state = State {
            mood: Mood::Answers,
            tokens: BTreeMap::new(),
            objects: Objects::new(),
            writes: Writes::new(),
            asked: Publisher::new(Vec::new()),
        };
        let mut server = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::new(Mutex::new(state)),
            tasks: TaskSet::new(),
            presence: Shutdown::new(),
        };
        server.serve(listener);
        server
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A kubeconfig file in `directory` that leads here.
    #[must_use]
    pub fn kubeconfig(&self, directory: &Path) -> PathBuf {
        kubeconfig(directory, &json!({"server": format!("http://{}", self.address)}))
    }

    /// Puts `node` into the cluster and an agent's pod onto it; the token of that pod, for `audience`.
    #[must_use]
    pub fn add_agent(&self, node: &str, audience: &str) -> String {
        let (pod, token) = (format!("spire-agent-{node}"), format!("token-of-{node}"));
        let mut state = self.state.lock();
        let labels = json!({"zone": "a", "arch": "riscv"});
        let metadata = json!({"name": node, "uid": uid_of_node(node), "labels": labels});
        state.objects.insert(path_of_node(node), json!({"metadata": metadata}));
        let pod_uid = uid_of_pod(node);
        let pod_object = json!({
            "metadata": {
                "name": pod, "namespace": "spire", "uid": pod_uid, "labels": {"app": "spire-agent"},
            },
            "spec": {"nodeName": node, "serviceAccountName": "spire-agent", "containers": []},
            "status": {"phase": "Running", "hostIP": "172.16.10.1"},
        });
        state.objects.insert(path_of_pod(node), pod_object);
        let status = json!({
            "authenticated": true, "audiences": [audience],
            "user": {
                "username": "system:serviceaccount:spire:spire-agent",
                "extra": {
                    "authentication.kubernetes.io/pod-name": [pod],
                    "authentication.kubernetes.io/pod-uid": [pod_uid],
                    "authentication.kubernetes.io/node-name": [node],
                    "authentication.kubernetes.io/node-uid": [uid_of_node(node)],
                },
            },
        });
        state.tokens.insert(token.clone(), status);
        token
    }

    /// Changes what a review of `token` says.
    pub fn change_review(&self, token: &str, change: impl FnOnce(&mut Value)) {
        change(self.state.lock().tokens.get_mut(token).unwrap());
    }

    /// Changes the object at `path`.
    pub fn change(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.state.lock();
        let State { objects, writes, .. } = &mut *state;
        let object = objects.get_mut(path).unwrap();
        change(object);
        writes.touch(object);
    }

    /// Puts an object into the cluster.
    pub fn put(&self, path: &str, mut object: Value) {
        let mut state = self.state.lock();
        state.writes.touch(&mut object);
        state.objects.insert(path.to_owned(), object);
    }

    /// The object at `path`, if there is one.
    #[must_use]
    pub fn object(&self, path: &str) -> Option<Value> {
        self.state.lock().objects.get(path).cloned()
    }

    /// The number of the newest change of any object.
    #[must_use]
    pub fn version(&self) -> Reader<u64> {
        self.state.lock().writes.version()
    }

    /// Nobody may do this any more: `get`, `update`, `patch` on a path, `create` on a collection (and on
    /// the path of an object that an apply would create).
    pub fn forbid(&self, verb: &str, path: &str) {
        self.state.lock().writes.forbid(verb, path);
    }

    /// It may be done again.
    pub fn allow(&self, verb: &str, path: &str) {
        self.state.lock().writes.allow(verb, path);
    }

    /// Deletes the object at `path`.
    pub fn delete(&self, path: &str) {
        self.state.lock().objects.remove(path).unwrap();
    }

    /// Changes how it answers from the next request on.
    pub fn set_mood(&self, mood: Mood) {
        self.state.lock().mood = mood;
    }

    /// What it was asked, as method and path, in order.
    #[must_use]
    pub fn asked(&self) -> Reader<Vec<String>> {
        self.state.lock().asked.reader()
    }

    /// Goes away: connections break, new ones are refused.
    pub async fn go_away(&mut self) {
        self.presence.request();
        assert_eq!(self.tasks.finish(END_WITHIN).await, 0);
    }

    /// Comes back to the same address.
    pub async fn come_back(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        (self.tasks, self.presence) = (TaskSet::new(), Shutdown::new());
        self.serve(listener);
    }

    fn serve(&mut self, listener: TcpListener) {
        let (state, tasks) = (Arc::clone(&self.state), self.tasks.clone());
        let presence = self.presence.clone();
        self.tasks.spawn("api accept", async move {
            loop {
                let accepted = tokio::select! {
                    biased;
                    () = presence.requested() => return,
                    accepted = listener.accept() => accepted,
                };
                let (state, presence) = (Arc::clone(&state), presence.clone());
                tasks.spawn("api connection", async move {
                    tokio::select! {
                        biased;
                        () = presence.requested() => {}
                        () = converse(accepted, state) => {}
                    }
                });
            }
        });
    }
}

/// A kubeconfig file in `directory` that leads to `cluster`.
#[must_use]
pub fn kubeconfig(directory: &Path, cluster: &Value) -> PathBuf {
    let path = directory.join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": cluster}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "server"}}],
        "users": [{"name": "server", "user": {"token": "of-the-server"}}],
    });
    fs::write(&path, config.to_string()).unwrap();
    path
}

/// The UID of a node that [`ApiServer::add_agent`] made.
#[must_use]
pub fn uid_of_node(node: &str) -> String {
    format!("uid-of-{node}")
}

/// The UID of the agent's pod on a node.
#[must_use]
pub fn uid_of_pod(node: &str) -> String {
    format!("uid-of-pod-on-{node}")
}

/// Where the API has a node.
#[must_use]
pub fn path_of_node(node: &str) -> String {
    format!("/api/v1/nodes/{node}")
}

/// Where the API has the agent's pod on a node.
#[must_use]
pub fn path_of_pod(node: &str) -> String {
    format!("/api/v1/namespaces/spire/pods/spire-agent-{node}")
}

async fn converse(accepted: io::Result<(TcpStream, SocketAddr)>, state: Arc<Mutex<State>>) {
    let (stream, _) = accepted.unwrap();
    let service = service_fn(move |request| answer(request, Arc::clone(&state)));
    // A client that is done hangs up.
    let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let call = Call { method: &method, path: &path, query: &query, body: &body };
    let mood = {
        let state = state.lock();
        state.asked.update(|asked| {
            asked.push(format!("{method} {path}"));
            true
        });
        state.mood
    };
    let (code, body) = match mood {
        Mood::Hangs => std::future::pending().await,
        Mood::Fails(code) => failure(code, "told to fail"),
        Mood::Answers => state.lock().answer(&call),
    };
    let response = Response::builder()
        .status(StatusCode::from_u16(code).unwrap())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body.to_string().into()));
    Ok(response.unwrap())
}

impl State {
    fn answer(&mut self, call: &Call<'_>) -> (u16, Value) {
        let path = call.path;
        if *call.method == Method::POST && path == REVIEWS {
            let mut review: Value = serde_json::from_slice(call.body).unwrap();
            review["status"] = self.review(&review["spec"]);
            return (201, review);
        }
        if let Some(answer) = self.writes.answer(&mut self.objects, call) {
            return answer.unwrap_or_else(|(code, message)| failure(code, &message));
        }
        if let Err((code, message)) = self.writes.check("get", path) {
            return failure(code, &message);
        }
        match self.objects.get(path) {
            Some(object) => (200, object.clone()),
            None => failure(404, &format!("{path} not found")),
        }
    }

    /// In the words of the real one.
    fn review(&self, spec: &Value) -> Value {
        let Some(status) = spec["token"].as_str().and_then(|token| self.tokens.get(token)) else {
            return json!({"user": {}, "error": "invalid bearer token"});
        };
        let texts = |list: &Value| list.as_array().cloned().unwrap_or_default();
        let (wanted, found) = (texts(&spec["audiences"]), texts(&status["audiences"]));
        let both: Vec<_> = wanted.iter().filter(|audience| found.contains(audience)).collect();
        if !wanted.is_empty() && both.is_empty() && !found.is_empty() {
            let error = format!(
                "[invalid bearer token, token audiences {found:?} is invalid for the target audiences \
                 {wanted:?}]"
            );
            return json!({"user": {}, "error": error});
        }
        let mut status = status.clone();
        status["audiences"] = json!(both);
        status
    }
}

fn failure(code: u16, message: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message,
        "reason": "", "code": code,
    });
    (code, status)
}
