//! An Envoy that refuses a secret. After a refused first one it stays useless, whatever comes, until
//! the bytes of its bundle change too (istio-envoy.md §13, "What a NACK leaves behind").

use super::peers;
use finial::{
    dev::mesh::{BySide, Side},
    spiffe::Entry,
    testing::{
        envoy::{Lab, identity},
        sds_proxy::SdsProxy,
        serving::ServedAgent,
    },
    wire::proto::envoy::{
        config::core::v3::{DataSource, data_source::Specifier},
        extensions::transport_sockets::tls::v3::{Secret, secret::Type},
    },
    x509::{KeyPair, KeyType, pem},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Two Envoys, the server behind a proxy that spoils its certificates while it is told to.
struct Spoiled {
    lab: Lab,
    agent: ServedAgent,
    entries: BySide<Arc<Entry>>,
    proxy: SdsProxy,
    spoils: Arc<AtomicBool>,
}

impl Spoiled {
    async fn new(spoils: bool) -> Self {
        let mut lab = peers::lab().await;
        let agent = lab.agent().await;
        // The proxy is what the agent sees of the server Envoy.
        let own = format!("unix:path:{}", std::env::current_exe().unwrap().display());
        let entries = BySide {
            client: agent.register(identity(Side::Client), &[&lab.selector(Side::Client)]),
            server: agent.register(identity(Side::Server), &[&own]),
        };
        agent.sign_due();
        let proxy_socket = lab.directory().join("proxy.sock");
        let spoils = Arc::new(AtomicBool::new(spoils));
        let spoiling = Arc::clone(&spoils);
        let proxy = SdsProxy::start(&proxy_socket, &lab.socket(), move |secret| {
            if spoiling.load(Ordering::Relaxed) {
                spoil(secret);
            }
        })
        .await;
        lab.plan.sds_sockets.server = proxy_socket;
        Self { lab, agent, entries, proxy, spoils }
    }

    fn spoil(&self, spoils: bool) {
        self.spoils.store(spoils, Ordering::Relaxed);
    }
}

/// Puts a key into a certificate secret that is not its leaf's.
fn spoil(secret: &mut Secret) {
    let Some(Type::TlsCertificate(certificate)) = &mut secret.r#type else { return };
    let key = KeyPair::generate(KeyType::EcP256).unwrap().secret_key().unwrap();
    let text = pem::secret_key(&key).to_vec().into();
    certificate.private_key = Some(DataSource { specifier: Some(Specifier::InlineBytes(text)) });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_recovers_from_a_refused_first_secret_with_the_next_rotation() {
    let test = Spoiled::new(true).await;
    let loaded = test.lab.start_loaded().await;
    loaded.requests(20).await;
    assert_eq!(loaded.load.failed(), loaded.load.requests(), "a refused secret is of no use");
    let refusals = test.proxy.refusals();
    assert_eq!(refusals.len(), 1, "said once, and not answered: {refusals:?}");

    test.spoil(false);
    loaded.rotate(&test.agent, &test.agent.ca, &test.entries).await;
    loaded.no_more_losses().await;
    let refusals = test.proxy.refusals();
    assert_eq!(refusals.len(), 1, "the correction is not refused: {refusals:?}");
    loaded.mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_refuses_a_rotation_keeps_its_certificate_and_takes_the_next() {
    let test = Spoiled::new(false).await;
    let mut loaded = test.lab.start_loaded().await;
    test.spoil(true);
    let _refused = test.agent.sign(&test.agent.ca, &test.entries.server);
    loaded.until("refusal", || !test.proxy.refusals().is_empty()).await;
    loaded.requests(50).await;
    test.spoil(false);
    loaded.rotate(&test.agent, &test.agent.ca, &test.entries).await;
    loaded.requests(50).await;
    loaded.load.stop().await;
    assert_eq!(loaded.load.failed(), 0, "{:#?}", loaded.load.failures());
    let refusals = test.proxy.refusals();
    assert_eq!(refusals.len(), 1, "the correction is not refused: {refusals:?}");
    loaded.mesh.alive().unwrap();
    loaded.mesh.stop().await;
}
