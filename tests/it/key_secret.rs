//! A server whose pod keeps nothing, and whose keys are in a Kubernetes Secret.

use crate::{
    events::Events,
    server::fixture::{Fixture, config, fetch_bundle},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use finial::{
    runtime::Clock,
    server::{
        ca::{keystore::KeyStore, state::AuthorityState},
        config::{KeyManager, ServerConfig},
        start::{RunningServer, Server, StartError},
    },
    testing::apiserver::ApiServer,
};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use tempfile::TempDir;
use tokio::{task, time::timeout};

const SECRETS: &str = "/api/v1/namespaces/spire/secrets";
const SECRET: &str = "/api/v1/namespaces/spire/secrets/spire-server-keys";
/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Half of it is over in no time, and it is not over before a test is.
const SHORT: Duration = Duration::from_secs(20);

/// A Secret as a chart makes it, with nothing in it yet.
fn empty() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": "spire-server-keys", "namespace": "spire",
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
        },
        "type": "Opaque",
    })
}

/// An API server with an empty Secret, which may be read and replaced, and no other be made.
async fn chart() -> ApiServer {
    let api = ApiServer::start().await;
    api.forbid("create", SECRETS);
    api.put(empty());
    api
}

/// A server in a pod of its own, which ends with the directory.
async fn pod(api: &ApiServer, ca_ttl: Duration) -> Result<Fixture, StartError> {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::system());
    let server = serve(api, dir.path(), &clock, ca_ttl).await?;
    Ok(Fixture { dir, server, clock })
}

async fn serve(
    api: &ApiServer,
    dir: &Path,
    clock: &Clock,
    ca_ttl: Duration,
) -> Result<RunningServer, StartError> {
    let key_manager = KeyManager::KubernetesSecret {
        kube_config_file: Some(api.kubeconfig(dir)),
        namespace: "spire".to_owned(),
        name: "spire-server-keys".to_owned(),
    };
    let mut config = ServerConfig { key_manager, ..config(dir) };
    config.ca.ttl = ca_ttl;
    config.x509_svid_ttl = config.x509_svid_ttl.min(ca_ttl / 6);
    config.agent_ttl = config.x509_svid_ttl;
    Server::start(config, clock.clone()).await
}

const DAY: Duration = Duration::from_secs(86_400);

/// The text of an error and its causes.
fn words(error: &StartError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

async fn refused(api: &ApiServer) -> String {
    let Err(error) = pod(api, DAY).await else { panic!("it started") };
    words(&error)
}

async fn said(events: &Events, text: &str) {
    let heard = async {
        while events.count(text) == 0 {
            task::yield_now().await;
        }
    };
    timeout(PATIENCE, heard).await.expect("it is said in time");
}

#[tokio::test]
async fn a_pod_without_its_data_goes_on_as_the_same_authority() {
    let api = chart().await;
    let first = pod(&api, DAY).await.unwrap();
    let (bundle, authority) = (first.bundle(), first.server.ca_state().current().active.unwrap());
    first.server.shutdown().await;
    let second = pod(&api, DAY).await.unwrap();
    assert_eq!(*second.bundle(), *bundle, "no authority is added, and the sequence goes on");
    assert_eq!(second.server.ca_state().current().active.unwrap(), authority);
    assert!(second.server.readiness().is_ready());
    assert_eq!(fetch_bundle(second.anonymous().await).await, *bundle);
    drop(second.agent().await);
    let labels = api.object(SECRET).unwrap()["metadata"]["labels"].clone();
    assert_eq!(labels, empty()["metadata"]["labels"], "what else is in the Secret stays");
}

#[tokio::test]
async fn an_authority_on_its_way_to_the_agents_survives_the_pod_too() {
    let api = chart().await;
    let first = pod(&api, SHORT).await.unwrap();
    let published = |state: &finial::server::CaState| {
        state.prepared.as_ref().is_some_and(|prepared| prepared.bundle_sequence.is_some())
    };
    let mut state = first.server.ca_state();
    let state = timeout(PATIENCE, state.wait_for(published)).await.unwrap().unwrap();
    let bundle = first.bundle();
    assert_eq!(bundle.x509_authorities().len(), 2);
    first.server.shutdown().await;
    let second = pod(&api, SHORT).await.unwrap();
    assert_eq!(*second.bundle(), *bundle);
    let resumed = second.server.ca_state().current();
    let id = |authority: &Option<AuthorityState>| authority.as_ref().map(|a| a.id.clone());
    assert_eq!(id(&resumed.active), id(&state.active));
    assert_eq!(id(&resumed.prepared), id(&state.prepared));
}

#[tokio::test]
async fn data_that_is_older_than_the_secret_does_not_bring_the_old_authority_back() {
    let api = chart().await;
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::system());
    let first = serve(&api, dir.path(), &clock, DAY).await.unwrap();
    first.shutdown().await;
    // The Secret goes on with another pod, and begins anew there.
    api.put(empty());
    let other = pod(&api, DAY).await.unwrap();
    let authority = other.server.ca_state().current().active.unwrap();
    other.server.shutdown().await;
    let again = serve(&api, dir.path(), &clock, DAY).await.unwrap();
    assert_eq!(again.ca_state().current().active.map(|active| active.id), Some(authority.id));
    let bundle = again.store().bundle(&crate::server::fixture::trust_domain()).unwrap();
    assert_eq!(bundle.x509_authorities().len(), 2, "what the old one signed is still trusted");
    again.shutdown().await;
}

#[tokio::test]
async fn the_server_that_started_last_has_the_secret_and_the_other_is_told() {
    let api = chart().await;
    let events = Events::collect();
    let first = pod(&api, SHORT).await.unwrap();
    let second = pod(&api, DAY).await.unwrap();
    said(&events, "another server has taken Secret spire/spire-server-keys over").await;
    assert!(first.server.ca_state().current().active.is_some(), "it goes on signing");
    let third = pod(&api, DAY).await.unwrap();
    assert_eq!(third.bundle().x509_authorities(), second.bundle().x509_authorities());
}

#[tokio::test]
async fn a_secret_that_is_deleted_under_the_server_is_made_again_when_there_is_something_to_write()
{
    let api = ApiServer::start().await;
    let server = pod(&api, SHORT).await.unwrap();
    assert!(api.object(SECRET).is_some(), "it is made where that is allowed");
    api.delete(SECRET);
    let mut version = api.pulse();
    let made = async {
        while api.object(SECRET).is_none() {
            version.changed().await.unwrap();
        }
    };
    timeout(PATIENCE, made).await.expect("the next authority is remembered in time");
    drop(server);
}

#[tokio::test]
async fn missing_rights_are_named_with_what_grants_them() {
    for (verb, there, wanted) in [
        (
            "get",
            true,
            "may not get Secret spire/spire-server-keys: allow its service account the verbs get and update",
        ),
        (
            "update",
            true,
            "may not update Secret spire/spire-server-keys: allow its service account",
        ),
        (
            "create",
            false,
            "does not exist and this server may not create it: run kubectl create secret generic \
             spire-server-keys --namespace spire",
        ),
    ] {
        let api = chart().await;
        api.forbid(verb, SECRET);
        if !there {
            api.delete(SECRET);
        }
        let text = refused(&api).await;
        assert!(text.contains(wanted), "{text}");
    }
}

#[tokio::test]
async fn what_is_damaged_or_too_large_is_refused_and_left_as_it_is() {
    let api = chart().await;
    let base64 = |text: &[u8]| json!(STANDARD.encode(text));
    for (key, text, wanted) in [
        (
            "keys.json",
            b"{\"keys\": {\"x509-CA-A\"".to_vec(),
            "keys.json of Secret spire/spire-server-keys is damaged",
        ),
        ("other", vec![b'x'; 1024 * 1024], "and Kubernetes allows 1048576"),
    ] {
        let mut secret = empty();
        secret["data"][key] = base64(&text);
        api.put(secret.clone());
        let refusal = refused(&api).await;
        assert!(refusal.contains(wanted), "{refusal}");
        assert_eq!(api.object(SECRET).unwrap()["data"][key], secret["data"][key]);
    }
}

#[tokio::test]
async fn an_api_server_that_is_away_is_waited_for() {
    let mut api = chart().await;
    let first = pod(&api, DAY).await.unwrap();
    let bundle = first.bundle();
    first.server.shutdown().await;
    api.go_away().await;
    let dir: TempDir = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let events = Events::collect();
    let kubeconfig = api.kubeconfig(dir.path());
    let start = async {
        let key_manager = KeyManager::KubernetesSecret {
            kube_config_file: Some(kubeconfig),
            namespace: "spire".to_owned(),
            name: "spire-server-keys".to_owned(),
        };
        let config = ServerConfig { key_manager, ..config(dir.path()) };
        Server::start(config, clock.clone()).await
    };
    let returns = async {
        said(&events, "keys are waited for").await;
        api.come_back().await;
    };
    let (server, ()) = tokio::join!(timeout(PATIENCE, start), returns);
    let server = server.unwrap().unwrap();
    assert_eq!(server.store().bundle(bundle.trust_domain()).unwrap(), bundle);
    server.shutdown().await;
}

#[tokio::test]
async fn the_keys_in_the_secret_are_a_key_file_of_spires() {
    let api = chart().await;
    pod(&api, DAY).await.unwrap().server.shutdown().await;
    let secret = api.object(SECRET).unwrap();
    let text = STANDARD.decode(secret["data"]["keys.json"].as_str().unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.json");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert!(KeyStore::open(&path).unwrap().load("x509-CA-A").unwrap().is_some());
}
