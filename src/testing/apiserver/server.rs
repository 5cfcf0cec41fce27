//! The server itself: where it listens, how it behaves, and what is done to it.

use super::{
    answer::answer,
    path::Target,
    state::{Mood, State},
};
use crate::runtime::{Reader, Shutdown, TaskSet};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
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
    pub(super) state: Arc<Mutex<State>>,
    tasks: TaskSet,
    presence: Shutdown,
}

/// For connections to notice that the server has gone away.
const END_WITHIN: Duration = Duration::from_secs(10);

impl ApiServer {
    /// Serves an empty cluster.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut server = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::new(Mutex::new(State::new())),
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

    /// Puts an object into the cluster, or in the place of the one of its name.
    pub fn put(&self, object: Value) {
        self.happen(|state| state.store.put(&Target::of(&object), object));
    }

    /// The object at `path`.
    #[must_use]
    pub fn object(&self, path: &str) -> Option<Value> {
        let state = self.state.lock();
        state.store.get(&Target::parse(path).unwrap()).map(|object| Value::clone(object))
    }

    /// All objects of the collection at `path`.
    #[must_use]
    pub fn objects(&self, path: &str) -> Vec<Value> {
        let target = Target::parse(path).unwrap();
        let state = self.state.lock();
        let (all, _) = state.store.page(
            &target.resource,
            &super::store::Selection { namespace: target.namespace, ..Default::default() },
            0,
            usize::MAX - 1,
        );
        all.into_iter().map(|object| Value::clone(object)).collect()
    }

    /// Changes the object at `path`.
    pub fn change(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let target = Target::parse(path).unwrap();
        self.happen(|state| {
            let mut object = Value::clone(state.store.get(&target).unwrap());
            change(&mut object);
            state.store.put(&target, object)
        });
    }

    /// Deletes the object at `path`.
    pub fn delete(&self, path: &str) {
        self.happen(|state| state.store.delete(&Target::parse(path).unwrap()).unwrap());
    }

    /// Changes how it answers from the next request on.
    pub fn set_mood(&self, mood: Mood) {
        self.state.lock().mood = mood;
    }

    /// Changes how it answers to requests whose path begins with `path`.
    pub fn set_mood_below(&self, path: &str, mood: Mood) {
        self.state.lock().moods.insert(path.to_owned(), mood);
    }

    /// Nobody may do this any more: `get`, `update`, `patch` on a path, `create` on a collection (and on
    /// the path of an object that an apply would create).
    pub fn forbid(&self, verb: &str, path: &str) {
        self.state.lock().rights.forbid(verb, path);
    }

    /// It may be done again.
    pub fn allow(&self, verb: &str, path: &str) {
        self.state.lock().rights.allow(verb, path);
    }

    /// Ends every watch.
    pub fn cut_watches(&self) {
        self.wake(|state| state.cuts += 1);
    }

    /// Forgets what happened until now: whoever watches from before has to list anew.
    pub fn compact(&self) {
        self.wake(|state| state.store.compact());
    }

    /// Sends every watch a bookmark.
    pub fn bookmark(&self) {
        self.wake(|state| state.bookmarks += 1);
    }

    /// What it was asked, as verb and path, in order. The verb of a watch is `WATCH`.
    #[must_use]
    pub fn asked(&self) -> Reader<Vec<String>> {
        self.state.lock().asked.reader()
    }

    /// Moves when something happens to an object.
    #[must_use]
    pub fn pulse(&self) -> Reader<u64> {
        self.state.lock().pulse.reader()
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

    fn happen<T>(&self, change: impl FnOnce(&mut State) -> T) {
        self.wake(|state| {
            change(state);
        });
    }

    fn wake(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        change(&mut state);
        state.pulse.publish(state.store.version());
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

async fn converse(accepted: io::Result<(TcpStream, SocketAddr)>, state: Arc<Mutex<State>>) {
    let (stream, _) = accepted.unwrap();
    // A watch writes small pieces: never wait to fill a segment.
    stream.set_nodelay(true).unwrap();
    let service = service_fn(move |request| answer(request, Arc::clone(&state)));
    // A client that is done hangs up.
    let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
