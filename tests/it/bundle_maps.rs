//! The trust bundle in ConfigMaps: a server as it is, and an API server that refuses, goes away, and has
//! other writers.

use crate::{
    events::Events,
    server::fixture::{Fixture, config, trust_domain},
};
use finial::{
    runtime::Clock,
    server::{
        config::{BundleForm, BundleFormat, BundleMap, ServerConfig},
        start::Server,
    },
    spiffe::bundle_doc,
    testing::{apiserver::ApiServer, ca::TestCa},
    x509::pem,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    task,
    time::{self, timeout},
};

const MAP: &str = "/api/v1/namespaces/spire/configmaps/spire-bundle";
/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that keeps one ConfigMap of one API server.
struct World {
    api: ApiServer,
    fixture: Fixture,
}

/// An empty ConfigMap, as the quick start makes it.
fn empty() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "spire-bundle", "namespace": "spire"},
    })
}

/// An API server on which the map may be read and patched, but not made: the quick start's rights.
async fn quick_start() -> ApiServer {
    let api = ApiServer::start().await;
    api.forbid("create", MAP);
    api
}

impl World {
    async fn start(api: ApiServer, forms: &[(&str, BundleFormat)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let form = |format| BundleForm { format, refresh_hint: Some(Duration::from_secs(300)) };
        let keys = forms.iter().map(|(key, format)| ((*key).to_owned(), form(*format))).collect();
        let map = BundleMap {
            kube_config_file: Some(api.kubeconfig(dir.path())),
            namespace: "spire".to_owned(),
            name: "spire-bundle".to_owned(),
            manager: "spire-notifier-k8sbundle",
            keys,
        };
        let config = ServerConfig { bundle_maps: vec![map], ..config(dir.path()) };
        let clock = Clock::system();
        let server = Server::start(config, clock.clone()).await.unwrap();
        Self { api, fixture: Fixture { dir, server, clock } }
    }

    /// The quick start's server.
    async fn with_pem(api: ApiServer) -> Self {
        Self::start(api, &[("bundle.crt", BundleFormat::Pem)]).await
    }

    fn pem(&self) -> Value {
        let bundle = self.fixture.bundle();
        let mut text = Vec::new();
        for authority in bundle.x509_authorities() {
            pem::push_certificate(&mut text, &authority.certificate);
        }
        json!(String::from_utf8(text).unwrap())
    }

    fn held(&self, key: &str) -> Value {
        self.api.object(MAP).map(|map| map["data"][key].clone()).unwrap_or_default()
    }

    /// Waits until the map's PEM is the bundle's.
    async fn settled(&self) {
        let mut version = self.api.pulse();
        let holds = async {
            while self.held("bundle.crt") != self.pem() {
                version.changed().await.unwrap();
            }
        };
        timeout(PATIENCE, holds).await.expect("the bundle is in the map in time");
    }

    async fn new_authority(&self) {
        let ca = TestCa::new("example.org", self.fixture.clock.now());
        let certificate = ca.authority().certificate().clone();
        let store = self.fixture.server.store();
        store.append_x509_authority(&trust_domain(), certificate).await.unwrap();
    }

    /// The time of the next look has come.
    async fn next_look(&self) {
        time::pause();
        time::advance(Duration::from_secs(70)).await;
        time::resume();
    }
}

/// Waits for a line of the log.
async fn said(events: &Events, text: &str) {
    let heard = async {
        while events.count(text) == 0 {
            task::yield_now().await;
        }
    };
    timeout(PATIENCE, heard).await.expect("it is said in time");
}

#[tokio::test]
async fn the_quick_starts_map_holds_the_bundle_from_the_start_and_after_each_change() {
    let api = quick_start().await;
    let mut map = empty();
    map["data"]["somebody.else"] = json!("stays");
    api.put(map);
    let world = World::with_pem(api).await;
    world.settled().await;
    let first = world.pem();
    world.new_authority().await;
    assert_ne!(world.pem(), first);
    world.settled().await;
    assert_eq!(world.held("somebody.else"), json!("stays"));
    let asked = world.api.asked().current();
    let allowed = [format!("GET {MAP}"), format!("PATCH {MAP}")];
    assert!(asked.iter().all(|request| allowed.contains(request)), "{asked:?}");
}

#[tokio::test]
async fn the_charts_map_is_made_and_holds_every_form_that_is_asked_for() {
    let forms = [
        ("bundle.crt", BundleFormat::Pem),
        ("bundle.spiffe", BundleFormat::Spiffe),
        ("bundle.jwks", BundleFormat::Jwks),
    ];
    let world = World::start(ApiServer::start().await, &forms).await;
    world.settled().await;
    let bundle = world.fixture.bundle();
    let document = world.held("bundle.spiffe");
    let read = bundle_doc::read(trust_domain(), document.as_str().unwrap().as_bytes()).unwrap();
    assert!(read.has_same_content(&bundle));
    assert_eq!((read.sequence(), read.refresh_hint_secs()), (bundle.sequence(), 300));
    let jwks: Value = serde_json::from_str(world.held("bundle.jwks").as_str().unwrap()).unwrap();
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 1);
    assert!(jwks["keys"][0]["use"].is_null() && jwks["spiffe_sequence"].is_null(), "{jwks}");
}

#[tokio::test]
async fn what_somebody_else_wrote_is_replaced_at_the_next_look() {
    let api = quick_start().await;
    api.put(empty());
    let events = Events::collect();
    let world = World::with_pem(api).await;
    said(&events, "trust bundle published").await;
    world.api.change(MAP, |map| map["data"]["bundle.crt"] = json!("forged"));
    let looks = world.api.asked().current().len();
    world.next_look().await;
    world.settled().await;
    let asked = world.api.asked().current();
    assert_eq!(asked[looks..], [format!("GET {MAP}"), format!("PATCH {MAP}")]);
    said(&events, "trust bundle restored").await;
}

#[tokio::test]
async fn a_map_that_holds_the_bundle_already_is_not_written_again() {
    let api = quick_start().await;
    api.put(empty());
    let events = Events::collect();
    let world = World::with_pem(api).await;
    said(&events, "trust bundle published").await;
    let mut asked = world.api.asked();
    let looks = asked.current().len();
    world.next_look().await;
    let looked = asked.wait_for(|asked| asked.len() > looks);
    let asked = timeout(PATIENCE, looked).await.expect("it looks again").unwrap();
    assert_eq!(asked.iter().filter(|asked| asked.starts_with("PATCH")).count(), 1);
}

#[tokio::test]
async fn a_server_without_the_rights_serves_and_says_which_it_needs() {
    let rights = "allow its service account the verbs get and patch on configmaps of this name";
    let missing = "does not exist and this server may not create it";
    for (verb, there, wanted) in
        [("get", true, rights), ("patch", true, rights), ("create", false, missing)]
    {
        let api = quick_start().await;
        api.forbid(verb, MAP);
        if there {
            api.put(empty());
        }
        let events = Events::collect();
        let world = World::with_pem(api).await;
        assert!(world.fixture.server.readiness().is_ready());
        said(&events, wanted).await;
        let mut asked = world.api.asked();
        let tries = asked.current().len() + 4;
        timeout(PATIENCE, asked.wait_for(|asked| asked.len() >= tries)).await.unwrap().unwrap();
        assert_eq!(events.count(wanted), 1, "one reason is one line");
        world.api.allow(verb, MAP);
        world.settled().await;
    }
}

#[tokio::test]
async fn an_api_server_that_is_away_delays_the_bundle_and_nothing_else() {
    let mut api = quick_start().await;
    api.put(empty());
    api.go_away().await;
    let mut world = World::with_pem(api).await;
    assert!(world.fixture.server.readiness().is_ready());
    drop(world.fixture.agent().await);
    world.api.come_back().await;
    world.settled().await;
    world.fixture.server.shutdown().await;
}
