//! What cannot work is refused when it is written, over TLS as an API server speaks it.

use super::fixture::{TEMPLATE, World};
use bytes::Bytes;
use finial::{controller::RunningController, x509::pem};
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/w";
const SERVED: &str = "validatingWebhookConfigurationName: w\nwebhook: {host: 127.0.0.1, port: 0}\n";
const NAME: &str = "hook.spire.svc";

fn put_configuration(world: &World) {
    let webhook = |name: &str| {
        json!({
            "name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "hook", "namespace": "spire", "path": "/x"}},
        })
    };
    world.api.put(json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "w"},
        "webhooks": [webhook("vclusterspiffeid.kb.io"), webhook("vclusterstaticentry.kb.io")],
    }));
}

fn bundle_of(webhook: &Value) -> Vec<u8> {
    use base64::Engine as _;
    let text = webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default();
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

/// Waits until every webhook of the configuration has a bundle of so many authorities.
async fn trusted(world: &World, authorities: usize) -> Vec<u8> {
    let count = |webhook: &Value| {
        pem::read_certificates(&bundle_of(webhook)).map_or(0, |certificates| certificates.len())
    };
    let has_all = |object: &Value| {
        object["webhooks"].as_array().is_some_and(|all| all.iter().all(|w| count(w) == authorities))
    };
    let object = world.until_object(CONFIGURATION, has_all).await;
    bundle_of(&object["webhooks"][0])
}

/// Asks as an API server that trusts `bundle`. Between bundle and certificate there may be a moment.
async fn ask(controller: &RunningController, bundle: &[u8], body: Value) -> Value {
    try_ask(controller, bundle, body).await.expect("the connection ended")
}

/// As [`ask`]; nothing when the connection ends before the answer.
async fn try_ask(controller: &RunningController, bundle: &[u8], body: Value) -> Option<Value> {
    let mut roots = RootCertStore::empty();
    for certificate in pem::read_certificates(bundle).unwrap() {
        roots.add(certificate.der().to_vec().into()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from(NAME).unwrap();
    let stream = loop {
        let tcp = TcpStream::connect(controller.webhook_addr.unwrap()).await.unwrap();
        match connector.connect(name.clone(), tcp).await {
            Ok(stream) => break stream,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let request = Request::post("/validate-spire-spiffe-io-v1alpha1-clusterspiffeid?timeout=10s")
        .header("host", NAME)
        .body(Full::<Bytes>::from(body.to_string()))
        .unwrap();
    let answer = async {
        let response = sender.send_request(request).await.ok()?;
        let body = response.into_body().collect().await.ok()?.to_bytes();
        let text = || json!(String::from_utf8_lossy(&body));
        Some(serde_json::from_slice(&body).unwrap_or_else(|_| text()))
    };
    tokio::select! {
        answer = answer => answer,
        _ = connection => None,
    }
}

fn review(kind: &str, spec: &Value) -> Value {
    let kinds = json!({"group": "spire.spiffe.io", "version": "v1alpha1", "kind": kind});
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u-1", "kind": kinds, "name": "x", "operation": "CREATE",
            "resource": {"group": "spire.spiffe.io", "version": "v1alpha1", "resource": "x"},
            "userInfo": {}, "dryRun": false,
            "object": {
                "apiVersion": "spire.spiffe.io/v1alpha1", "kind": kind,
                "metadata": {"name": "x"}, "spec": spec,
            },
        },
    })
}

#[tokio::test]
async fn objects_are_accepted_refused_and_warned_of() {
    let world = World::start().await;
    put_configuration(&world);
    let controller = world.controller(SERVED).await;
    let bundle = trusted(&world, 1).await;
    let some = json!({"matchLabels": {"app": "web"}});
    for (kind, spec, allowed, text) in [
        ("ClusterSPIFFEID", json!({"spiffeIDTemplate": TEMPLATE, "podSelector": some}), true, ""),
        ("ClusterSPIFFEID", json!({"spiffeIDTemplate": TEMPLATE}), true, "selects every pod"),
        (
            "ClusterSPIFFEID",
            json!({"spiffeIDTemplate": "{{ .PodMeta.Name"}),
            false,
            "spiffeIDTemplate",
        ),
        ("ClusterSPIFFEID", json!({"spiffeIDTemplate": "spiffe://other/x"}), false, "trust domain"),
        ("ClusterSPIFFEID", json!({"spiffeIDTemplate": "{{ .PodMeta.Nmae }}"}), false, "Nmae"),
        (
            "ClusterSPIFFEID",
            json!({"spiffeIDTemplate": "spiffe://{{ .TrustDomain }}/{{ .PodMeta.Labels.tier }}", "podSelector": some}),
            true,
            "without further labels",
        ),
        ("ClusterSPIFFEID", json!({"spiffeIDTemplate": TEMPLATE, "ttl": "-1s"}), false, "-1s"),
        ("ClusterSPIFFEID", json!({}), false, "spiffeIDTemplate"),
        (
            "ClusterStaticEntry",
            json!({"spiffeID": "spiffe://example.org/x", "parentID": "spiffe://example.org/p", "selectors": ["a"]}),
            false,
            "selector",
        ),
        (
            "ClusterFederatedTrustDomain",
            json!({
                "trustDomain": "example.org", "bundleEndpointURL": "https://x",
                "bundleEndpointProfile": {"type": "https_web"},
            }),
            false,
            "own",
        ),
    ] {
        let answer = ask(&controller, &bundle, review(kind, &spec)).await;
        let response = &answer["response"];
        assert_eq!(response["uid"], "u-1");
        assert_eq!(response["allowed"], allowed, "{spec}: {answer}");
        let said = format!("{}{}", response["status"]["message"], response["warnings"]);
        assert!(said.contains(text), "{spec}: {said}");
        assert!(!text.is_empty() || response["warnings"].is_null(), "{answer}");
    }
    controller.shutdown().await;
}

#[tokio::test]
async fn what_is_no_review_is_refused_and_ends_nothing() {
    let world = World::start().await;
    put_configuration(&world);
    let controller = world.controller(SERVED).await;
    let bundle = trusted(&world, 1).await;
    // It may be told why, or find the connection closed while it still sends.
    let _answer = try_ask(&controller, &bundle, json!("x".repeat(9 << 20))).await;
    let mut deleted = review("ClusterSPIFFEID", &json!({}));
    deleted["request"]["operation"] = json!("DELETE");
    for (body, expected) in [
        (json!("x"), "expected an AdmissionReview"),
        (json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}), "with a request"),
        (deleted, "\"allowed\":true"),
    ] {
        let answer = ask(&controller, &bundle, body).await.to_string();
        assert!(answer.contains(expected), "{answer}");
    }
    controller.shutdown().await;
}

#[tokio::test]
async fn each_replica_is_trusted_and_a_bundle_that_is_overwritten_is_put_right() {
    let world = World::start().await;
    // It may come after the controller.
    let first = world.controller(SERVED).await;
    put_configuration(&world);
    trusted(&world, 1).await;
    let second = world.controller(SERVED).await;
    let bundle = trusted(&world, 2).await;
    let good = json!({"spiffeIDTemplate": TEMPLATE});
    for replica in [&first, &second] {
        let answer = ask(replica, &bundle, review("ClusterSPIFFEID", &good)).await;
        assert_eq!(answer["response"]["allowed"], true);
    }
    put_configuration(&world);
    trusted(&world, 2).await;
    first.shutdown().await;
    second.shutdown().await;
}
