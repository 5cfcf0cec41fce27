//! Clients that others wrote: the `spiffe` crate, and gRPC C-core by way of Python.

use super::peers;
use finial::testing::serving::ServedAgent;
use spiffe::{TrustDomain, X509Source};
use std::{process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{ChildStdout, Command},
};

/// Far longer than either client takes.
const PATIENCE: Duration = Duration::from_secs(30);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("the client waits for something")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spiffe_crate_follows_the_identity_and_the_bundle() {
    let agent = ServedAgent::start_with_identity().await;
    let builder = X509Source::builder().endpoint(format!("unix:{}", agent.path.display()));
    let source = soon(builder.build()).await.unwrap();
    let first = source.svid().unwrap();
    assert_eq!(first.spiffe_id().to_string(), "spiffe://example.org/w");
    let trust_domain = TrustDomain::new("example.org").unwrap();
    let bundle = source.bundle_set().unwrap().get(&trust_domain).unwrap();
    let authority = agent.ca.authority().certificate();
    assert_eq!(bundle.authorities()[0].as_bytes(), &authority.der()[..]);

    let mut updates = source.updated();
    let entries = agent.cache.snapshot().entries;
    let renewed = agent.sign(&agent.ca, &entries[0]);
    soon(updates.changed()).await.unwrap();
    let second = source.svid().unwrap();
    assert_eq!(second.cert_chain()[0].as_bytes(), &renewed.chain()[0].der()[..]);
    source.shutdown().await;
}

/// The next thing that the client tells.
async fn told(lines: &mut Lines<BufReader<ChildStdout>>) -> serde_json::Value {
    let line = soon(lines.next_line()).await.unwrap().expect("the client ended early");
    serde_json::from_str(&line).unwrap()
}

/// C-core sends the socket's path as `:authority`, percent-encoded, which HTTP libraries refuse.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_c_core_fetches_and_follows_secrets_and_identities() {
    let agent = ServedAgent::start_with_identity().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/grpc_client.py");
    let mut client = Command::new(peers::path("FINIAL_PYTHON"))
        .args([script.as_ref(), agent.path.as_os_str()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    let fetched = told(&mut lines).await;
    assert_eq!(fetched["fetch"]["default"], "certificate");
    assert_eq!(fetched["fetch"]["ROOTCA"], "validation");
    assert_eq!(told(&mut lines).await["identities"][0], "spiffe://example.org/w");
    let first = told(&mut lines).await;
    assert_eq!(first["stream"]["default"], "certificate");
    agent.rotate(&agent.ca);
    let second = told(&mut lines).await;
    assert_eq!(second["stream"]["default"], "certificate");
    assert_ne!(first["version"], second["version"]);
    assert!(soon(client.wait()).await.unwrap().success());
}
