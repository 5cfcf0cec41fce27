//! The client against an API server on loopback.

use super::*;
use crate::{
    k8s::{Fault, lookup::Pod},
    runtime::TaskSet,
    testing::apiserver::{ApiServer, Mood, kubeconfig, path_of_pod, uid_of_pod},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use std::{fs, net::SocketAddr};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_rustls::TlsAcceptor;

async fn pod(client: &KubeClient) -> Result<Pod, KubeError> {
    client.pod("spire", "spire-agent-n").await
}

/// Speaks TLS with `name` in its certificate and passes on what is said to `to`; the address and the
/// certificate in PEM.
async fn tls_in_front_of(to: SocketAddr, name: &str, tasks: &TaskSet) -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = tasks.clone();
    tasks.spawn("tls accept", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            connections.spawn("tls connection", async move {
                // A client that does not trust us hangs up.
                let Ok(mut outer) = acceptor.accept(stream).await else { return };
                let mut inner = TcpStream::connect(to).await.unwrap();
                let _ended = copy_bidirectional(&mut outer, &mut inner).await;
            });
        }
    });
    let certificate = STANDARD.encode(made.cert.der());
    (address, format!("-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n"))
}

#[tokio::test]
async fn an_api_server_is_believed_by_its_certificate_only() {
    let (api, tasks) = (ApiServer::start().await, TaskSet::new());
    let _token = api.add_agent("n", "spire-server");
    for (name, is_believed) in [("127.0.0.1", true), ("elsewhere.example", false)] {
        let (address, authority) = tls_in_front_of(api.address(), name, &tasks).await;
        let dir = tempfile::tempdir().unwrap();
        let cluster = json!({
            "server": format!("https://{address}"),
            "certificate-authority-data": STANDARD.encode(authority),
        });
        let client = KubeClient::new(Access::Kubeconfig(kubeconfig(dir.path(), &cluster)));
        match pod(&client).await {
            Ok(found) => assert!(is_believed && found.uid == uid_of_pod("n"), "{found:?}"),
            Err(error) => assert!(!is_believed && error.fault() == Fault::Away, "{error:?}"),
        }
    }
    assert_eq!(api.asked().current().len(), 1, "nothing is said to a server that is not believed");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_hangs_is_away_in_time() {
    let (api, dir) = (ApiServer::start().await, tempfile::tempdir().unwrap());
    api.set_mood(Mood::Hangs);
    let client = KubeClient::new(Access::Kubeconfig(api.kubeconfig(dir.path())));
    let begun = Instant::now();
    let error = pod(&client).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Away, "{error}");
    assert!(begun.elapsed() <= CALL_WITHIN, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn rotated_credentials_are_read_when_the_old_ones_fail() {
    let (api, dir) = (ApiServer::start().await, tempfile::tempdir().unwrap());
    let _token = api.add_agent("n", "spire-server");
    let path = api.kubeconfig(dir.path());
    let client = KubeClient::new(Access::Kubeconfig(path.clone()));
    pod(&client).await.unwrap();
    fs::write(&path, "{}").unwrap();
    pod(&client).await.expect("the file is not read for each call");
    api.set_mood(Mood::Fails(401));
    assert_eq!(pod(&client).await.unwrap_err().fault(), Fault::Setup);
    api.set_mood(Mood::Answers);
    let error = pod(&client).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot use kubeconfig "), "{error}");
    assert_eq!(api.kubeconfig(dir.path()), path);
    pod(&client).await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_is_told_from_what_cannot_be_asked() {
    let (api, dir) = (ApiServer::start().await, tempfile::tempdir().unwrap());
    let _token = api.add_agent("n", "spire-server");
    let client = KubeClient::new(Access::Kubeconfig(api.kubeconfig(dir.path())));
    api.delete(&path_of_pod("n"));
    assert_eq!(pod(&client).await.unwrap_err().fault(), Fault::Missing);
    let nowhere = KubeClient::new(Access::Kubeconfig(dir.path().join("none")));
    assert_eq!(pod(&nowhere).await.unwrap_err().fault(), Fault::Setup);
    let outside = KubeClient::new(Access::InCluster);
    let error = pod(&outside).await.unwrap_err();
    assert!(error.to_string().contains("set kube_config_file"), "{error}");
}
