//! Two real ends of a TLS connection on the loopback interface.

use super::*;
use crate::{
    runtime::{Clock, Publisher},
    spiffe::{Bundle, SpiffeId, X509Svid},
    testing::ca::TestCa,
    transport::{
        channel::{self, Address, ConnectError},
        mtls,
        verify::{PeerError, ServerTrust, Trust},
    },
};
use hyper::service::service_fn;
use std::convert::Infallible;
use tokio::{io::AsyncReadExt, sync::mpsc};
use tonic::{client::GrpcService, transport::Channel};

const HOUR: Duration = Duration::from_secs(3_600);

fn id(ca: &TestCa, path: &str) -> SpiffeId {
    ca.trust_domain().member(path).unwrap()
}

fn svid(ca: &TestCa, path: &str) -> Arc<X509Svid> {
    Arc::new(ca.svid(&id(ca, path), HOUR))
}

fn bundle(ca: &TestCa) -> Arc<Bundle> {
    Arc::new(ca.bundle(1, &[]))
}

/// A listener that answers each request and tells who made it.
struct Fixture {
    ca: TestCa,
    clock: Clock,
    bundle: Publisher<Arc<Bundle>>,
    server: Publisher<Arc<X509Svid>>,
    address: Address,
    seen: mpsc::Receiver<TlsPeer>,
    tasks: TaskSet,
    shutdown: Shutdown,
}

impl Fixture {
    async fn start(limits: Admission) -> Self {
        let clock = Clock::system();
        let ca = TestCa::new("example.org", clock.now());
        let bundle = Publisher::new(bundle(&ca));
        let server = Publisher::new(svid(&ca, "/spire/server"));
        let address = Address { host: "127.0.0.1".to_owned(), port: 0 };
        let (tasks, shutdown, (_, seen)) = (TaskSet::new(), Shutdown::new(), mpsc::channel(1));
        let mut fixture = Self { ca, clock, bundle, server, address, seen, tasks, shutdown };
        fixture.listen(limits).await;
        fixture
    }

    /// Listens on the port of before, if there was one.
    async fn listen(&mut self, limits: Admission) {
        let trust = Trust::in_bundle(self.bundle.reader());
        let tls = mtls::server_config(self.server.reader(), trust, self.clock.clone()).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", self.address.port)).await.unwrap();
        self.address.port = listener.local_addr().unwrap().port();
        let (tell, seen) = mpsc::channel(64);
        let service = move |peer: &TlsPeer| {
            let (tell, peer) = (tell.clone(), peer.clone());
            service_fn(move |_request| {
                tell.try_send(peer.clone()).unwrap();
                let body = http_body_util::Empty::<bytes::Bytes>::new();
                async move { Ok::<_, Infallible>(Response::new(body)) }
            })
        };
        (self.tasks, self.shutdown, self.seen) = (TaskSet::new(), Shutdown::new(), seen);
        let (tasks, shutdown) = (self.tasks.clone(), self.shutdown.clone());
        self.tasks.spawn("listener", serve_all(listener, tls, limits, tasks, shutdown, service));
    }

    /// Ends the listener and its connections.
    async fn stop(&self) {
        self.shutdown.request();
        assert_eq!(self.tasks.finish(Duration::from_secs(5)).await, 0);
    }

    fn server_trust(&self) -> ServerTrust {
        let expected = id(&self.ca, "/spire/server");
        ServerTrust::Verified { expected, trust: Trust::in_bundle(self.bundle.reader()) }
    }

    async fn connect(&self, svid: Option<Arc<X509Svid>>) -> Result<Channel, ConnectError> {
        self.connect_trusting(self.server_trust(), svid).await
    }

    async fn connect_trusting(
        &self,
        trust: ServerTrust,
        svid: Option<Arc<X509Svid>>,
    ) -> Result<Channel, ConnectError> {
        let svid = svid.map(|svid| Publisher::new(svid).reader());
        channel::connect(&self.address, trust, svid, self.clock.clone()).await
    }
}

async fn call(channel: &mut Channel) -> Result<(), tonic::transport::Error> {
    std::future::poll_fn(|context| channel.poll_ready(context)).await?;
    let request = Request::new(tonic::body::Body::empty());
    GrpcService::call(channel, request).await.map(drop)
}

#[tokio::test]
async fn a_client_is_who_its_certificate_says_and_anonymous_without_one() {
    let mut fixture = Fixture::start(Admission::default()).await;
    let svid = svid(&fixture.ca, "/spire/agent/a");
    let mut agent = fixture.connect(Some(Arc::clone(&svid))).await.unwrap();
    call(&mut agent).await.unwrap();
    let proof = fixture.seen.recv().await.unwrap().proof.unwrap();
    assert_eq!((&proof.id, &proof.serial), (svid.id(), svid.chain()[0].serial()));
    let mut anonymous = fixture.connect(None).await.unwrap();
    call(&mut anonymous).await.unwrap();
    assert_eq!(fixture.seen.recv().await.unwrap().proof, None);
}

#[tokio::test]
async fn a_client_that_no_bundle_verifies_gets_no_connection() {
    let mut fixture = Fixture::start(Admission::default()).await;
    let stranger = TestCa::new("example.org", fixture.clock.now());
    // With TLS 1.3 the client is done before the server has judged it: the refusal shows at first use.
    if let Ok(mut channel) = fixture.connect(Some(svid(&stranger, "/spire/agent/a"))).await {
        assert!(call(&mut channel).await.is_err());
    }
    assert!(fixture.seen.try_recv().is_err());
}

#[tokio::test]
async fn a_server_must_have_exactly_the_expected_id_and_a_chain_to_the_bundle() {
    let fixture = Fixture::start(Admission::default()).await;
    let trust = Trust::in_bundle(fixture.bundle.reader());
    let expected = id(&fixture.ca, "/spire/server2");
    let other = ServerTrust::Verified { expected: expected.clone(), trust };
    let error = fixture.connect_trusting(other, None).await.unwrap_err();
    assert!(matches!(error.peer(), Some(PeerError::OtherServer { .. })), "{error:?}");

    let stranger = TestCa::new("example.org", fixture.clock.now());
    fixture.bundle.publish(bundle(&stranger));
    let error = fixture.connect(None).await.unwrap_err();
    assert!(matches!(error.peer(), Some(PeerError::Unverified { .. })), "{error:?}");

    let blind = |expected| ServerTrust::InsecureBootstrap { expected };
    let server_id = id(&fixture.ca, "/spire/server");
    assert!(fixture.connect_trusting(blind(server_id), None).await.is_ok());
    let error = fixture.connect_trusting(blind(expected), None).await.unwrap_err();
    assert!(matches!(error.peer(), Some(PeerError::OtherServer { .. })), "{error:?}");
}

#[tokio::test]
async fn new_svids_and_bundles_count_from_the_next_handshake_on_without_a_new_configuration() {
    let mut fixture = Fixture::start(Admission::default()).await;
    let next = TestCa::new("example.org", fixture.clock.now());
    fixture.bundle.publish(bundle(&next));
    assert!(fixture.connect(None).await.is_err(), "the bundle does not verify the server now");
    fixture.server.publish(svid(&next, "/spire/server"));
    let mut agent = fixture.connect(Some(svid(&next, "/spire/agent/a"))).await.unwrap();
    call(&mut agent).await.unwrap();
    assert!(fixture.seen.recv().await.unwrap().proof.is_some());
}

#[tokio::test]
async fn a_lost_connection_is_made_anew_with_the_svid_of_that_moment() {
    let mut fixture = Fixture::start(Admission::default()).await;
    let current = Publisher::new(svid(&fixture.ca, "/spire/agent/a"));
    let (trust, clock) = (fixture.server_trust(), fixture.clock.clone());
    let mut channel =
        channel::connect(&fixture.address, trust, Some(current.reader()), clock).await.unwrap();
    call(&mut channel).await.unwrap();
    let first = fixture.seen.recv().await.unwrap().proof.unwrap();
    fixture.stop().await;
    let status = tonic::Status::from_error(call(&mut channel).await.unwrap_err().into());
    assert!(matches!(ConnectError::behind(&status), Some(ConnectError::Tcp(..))), "{status:?}");

    current.publish(svid(&fixture.ca, "/spire/agent/a"));
    fixture.listen(Admission::default()).await;
    call(&mut channel).await.unwrap();
    let second = fixture.seen.recv().await.unwrap().proof.unwrap();
    assert_ne!(first.serial, second.serial);
}

#[tokio::test]
async fn silent_connections_of_one_address_leave_room_for_another_address() {
    let limits = Admission { unproven_per_ip: 2, ..Admission::default() };
    let mut fixture = Fixture::start(limits).await;
    let port = fixture.address.port;
    let dial = async |from: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        socket.connect(format!("127.0.0.1:{port}").parse().unwrap()).await.unwrap()
    };
    let mut flood = Vec::new();
    for _ in 0..3 {
        flood.push(dial("127.0.0.2").await);
    }
    let mut byte = [0];
    let ended = flood[2].read(&mut byte).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "the third was let in");
    let mut agent = fixture.connect(Some(svid(&fixture.ca, "/spire/agent/a"))).await.unwrap();
    call(&mut agent).await.unwrap();
    assert!(fixture.seen.recv().await.is_some());
}

#[tokio::test]
async fn shutdown_ends_connections_and_handshakes() {
    let fixture = Fixture::start(Admission::default()).await;
    let mut agent = fixture.connect(Some(svid(&fixture.ca, "/spire/agent/a"))).await.unwrap();
    call(&mut agent).await.unwrap();
    let port = fixture.address.port;
    let _silent = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    fixture.stop().await;
}
