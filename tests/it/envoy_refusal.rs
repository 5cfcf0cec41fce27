//! An Envoy that refused its first secret stays useless until the next rotation changes the bytes of
//! its bundle too (istio-envoy.md §13, "What a NACK leaves behind").

use super::peers;
use finial::{
    dev::mesh::Side,
    runtime::Clock,
    testing::{agent::ServingAgent, ca::TestCa, envoy::identity, sds_proxy::SdsProxy},
    wire::proto::envoy::{
        config::core::v3::{DataSource, data_source::Specifier},
        extensions::transport_sockets::tls::v3::{Secret, secret::Type},
    },
    x509::{KeyPair, KeyType, pem},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Puts a key into `secret` that is not its leaf's.
fn spoil(secret: &mut Secret) {
    let Some(Type::TlsCertificate(certificate)) = &mut secret.r#type else { return };
    let key = KeyPair::generate(KeyType::EcP256).unwrap().secret_key().unwrap();
    let text = pem::secret_key(&key).to_vec().into();
    certificate.private_key = Some(DataSource { specifier: Some(Specifier::InlineBytes(text)) });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_recovers_from_a_refused_first_secret_with_the_next_rotation() {
    let mut lab = peers::lab().await;
    let ca = TestCa::new("example.org", Clock::system().now());
    let agent = ServingAgent::start(&lab.socket(), &ca).await;
    // The proxy is what the agent sees of the server Envoy.
    let own = format!("unix:path:{}", std::env::current_exe().unwrap().display());
    let client = agent.register(identity(Side::Client), &[&lab.selector(Side::Client)]);
    let server = agent.register(identity(Side::Server), &[&own]);
    agent.rotate(&ca);
    let proxy_socket = lab.directory().join("proxy.sock");
    let spoils = Arc::new(AtomicBool::new(true));
    let spoiling = Arc::clone(&spoils);
    let proxy = SdsProxy::start(&proxy_socket, &lab.socket(), move |secret| {
        if spoiling.load(Ordering::Relaxed) {
            spoil(secret);
        }
    })
    .await;
    lab.plan.sds_sockets.server = proxy_socket;
    let mut loaded = lab.start_loaded().await;
    loaded.requests(20).await;
    assert_eq!(loaded.load.failed(), loaded.load.requests(), "a refused secret is of no use");
    assert_eq!(proxy.refusals().len(), 1, "said once, and not answered: {:?}", proxy.refusals());

    spoils.store(false, Ordering::Relaxed);
    let life = Duration::from_secs(3_600);
    let svid = agent.sign(&server, &ca, life);
    loaded.uses(Side::Server, &svid).await;
    // Those under way meanwhile may still fail.
    loaded.requests(20).await;
    let lost = loaded.load.failed();
    loaded.requests(100).await;
    assert_eq!(loaded.load.failed(), lost, "recovered: {:#?}", loaded.load.failures());
    assert_eq!(proxy.refusals().len(), 1, "{:?}", proxy.refusals());
    let svid = agent.sign(&client, &ca, life);
    loaded.uses(Side::Client, &svid).await;
    loaded.load.stop().await;
    loaded.mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_refuses_a_rotation_keeps_its_certificate_and_takes_the_next() {
    let mut lab = peers::lab().await;
    let ca = TestCa::new("example.org", Clock::system().now());
    let agent = ServingAgent::start(&lab.socket(), &ca).await;
    let own = format!("unix:path:{}", std::env::current_exe().unwrap().display());
    let _client = agent.register(identity(Side::Client), &[&lab.selector(Side::Client)]);
    let server = agent.register(identity(Side::Server), &[&own]);
    agent.rotate(&ca);
    let proxy_socket = lab.directory().join("proxy.sock");
    let spoils = Arc::new(AtomicBool::new(false));
    let spoiling = Arc::clone(&spoils);
    let proxy = SdsProxy::start(&proxy_socket, &lab.socket(), move |secret| {
        if spoiling.swap(false, Ordering::Relaxed) {
            spoil(secret);
        }
    })
    .await;
    lab.plan.sds_sockets.server = proxy_socket;
    let loaded = lab.start_loaded().await;
    spoils.store(true, Ordering::Relaxed);
    let life = Duration::from_secs(3_600);
    let _refused = agent.sign(&server, &ca, life);
    loaded.until("the refusal", || !proxy.refusals().is_empty()).await;
    loaded.requests(50).await;
    let svid = agent.sign(&server, &ca, life);
    loaded.uses(Side::Server, &svid).await;
    loaded.requests(50).await;
    assert_eq!(loaded.load.failed(), 0, "{:#?}", loaded.load.failures());
    assert_eq!(proxy.refusals().len(), 1, "{:?}", proxy.refusals());
    loaded.load.stop().await;
    loaded.mesh.stop().await;
}
