//! The load generator of benches/ notices what it must: it is proved here against a server that is
//! wrong on purpose, so that a bench that passes means something.

#[path = "../../benches/load/mod.rs"]
#[allow(dead_code, reason = "the benches use the rest")]
#[allow(clippy::print_stdout, reason = "it is a program's")]
pub(super) mod load;

use finial::{
    runtime::Clock,
    spiffe::SpiffeId,
    testing::{
        ca::TestCa,
        sds::FirstMessage,
        sds_server::{SdsServer, certificate_secret, validation_secret},
    },
};
use load::{
    fleet::{Fleet, Names, Plan},
    tally::Seen,
};
use std::{path::PathBuf, time::Duration};
use tempfile::TempDir;
use tokio::{net::UnixListener, time::Instant};

const PATIENCE: Duration = Duration::from_secs(20);
const LIFE: Duration = Duration::from_secs(600);

struct Stage {
    _folder: TempDir,
    socket: PathBuf,
    ca: TestCa,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("sds.sock");
        Self { _folder: folder, socket, ca: TestCa::new("example.org", Clock::system().now()) }
    }

    fn serve_good(&self, server: &SdsServer) {
        server.serve(certificate_secret("default", &self.ca.svid(&id("web"), LIFE)));
        server.serve(validation_secret("ROOTCA", &[&self.ca.bundle(1, &[])]));
    }

    fn plan(&self, connections: usize) -> Plan {
        let plan = Plan::istio(self.socket.clone(), connections);
        Plan { verify_every: 1, default: Some(id("web")), ..plan }
    }
}

fn id(name: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://example.org/{name}")).unwrap()
}

async fn until(fleet: &Fleet, accept: impl Fn(&Seen) -> bool) {
    assert!(
        fleet.tally().wait(Instant::now() + PATIENCE, accept).await,
        "still waiting: {:?}",
        fleet.tally().look(|seen| (seen.waiting, seen.answers, seen.wrong.first.clone()))
    );
}

#[tokio::test]
async fn every_sidecar_gets_both_secrets_and_every_push_is_counted() {
    let stage = Stage::new();
    let server = SdsServer::bind(&stage.socket);
    stage.serve_good(&server);
    let fleet = Fleet::launch(stage.plan(50));
    assert!(fleet.served(PATIENCE).await);
    until(&fleet, |seen| seen.verified == 100).await;
    fleet.tally().look(|seen| {
        assert_eq!((seen.answers, seen.wrong.count, seen.broken.count), (100, 0, 0));
        assert_eq!((seen.refused, seen.repeated), (0, 0));
    });

    fleet.tally().mark();
    let renewed = certificate_secret("default", &stage.ca.svid(&id("web"), LIFE));
    server.serve(renewed.clone());
    until(&fleet, |seen| seen.reached(0) == 50).await;
    fleet.tally().look(|seen| assert_eq!((seen.pushes(0), seen.pushes(1)), (50, 0)));
    server.serve(renewed);
    until(&fleet, |seen| seen.repeated == 50).await;
    // Two first answers and two pushes on each, all acknowledged: four requests beside the first two.
    let log = server.log().wait_for(|log| log.len() == 50 * (2 + 4)).await.unwrap();
    assert!(log.iter().all(|request| request.error_detail.is_none()));
    fleet.hang_up().await;
}

#[tokio::test]
async fn a_wrong_identity_authority_date_or_kind_is_noticed() {
    let stage = Stage::new();
    let now = Clock::system().now();
    let other = TestCa::new("example.org", now);
    let old = TestCa::new("example.org", now - Duration::from_secs(3_600));
    let default = |ca: &TestCa, name| certificate_secret("default", &ca.svid(&id(name), LIFE));
    let mut misnamed = default(&stage.ca, "web");
    "ROOTCA".clone_into(&mut misnamed.name);
    let of_old = validation_secret("ROOTCA", &[&old.bundle(1, &[])]);
    let cases = [
        (vec![default(&stage.ca, "other")], "expected spiffe://example.org/web"),
        (vec![default(&other, "web")], "not verified by the trust bundle"),
        (vec![default(&old, "web"), of_old], "is not valid at this time"),
        (vec![misnamed], "is no validation context"),
    ];
    for (secrets, reason) in cases {
        let server = SdsServer::bind(&stage.socket);
        stage.serve_good(&server);
        secrets.into_iter().for_each(|secret| server.serve(secret));
        let fleet = Fleet::launch(stage.plan(3));
        until(&fleet, |seen| seen.wrong.count > 0).await;
        let said = fleet.tally().look(|seen| seen.wrong.first.clone());
        assert!(said.iter().all(|text| text.contains(reason)), "expected {reason}: {said:?}");
        drop(server);
        std::fs::remove_file(&stage.socket).unwrap();
    }
}

#[tokio::test]
async fn each_sidecar_can_ask_for_an_identity_of_its_own() {
    let stage = Stage::new();
    let server = SdsServer::bind(&stage.socket);
    stage.serve_good(&server);
    let identities: Vec<_> = (0..7).map(|number| id(&format!("w{number}"))).collect();
    for identity in &identities {
        server.serve(certificate_secret(identity.as_str(), &stage.ca.svid(identity, LIFE)));
    }
    let names = Names::Own { identities, others: vec!["ROOTCA".to_owned()] };
    let envoy_sized = FirstMessage::EnvoySized;
    let plan = Plan { names, first_message: envoy_sized, at_once: Some(2), ..stage.plan(7) };
    let fleet = Fleet::launch(plan);
    assert!(fleet.served(PATIENCE).await);
    until(&fleet, |seen| seen.verified == 14).await;
    fleet.tally().look(|seen| assert_eq!(seen.wrong.count, 0, "{:?}", seen.wrong.first));
}

#[tokio::test]
async fn a_full_accept_queue_is_counted_and_a_missing_server_is_a_broken_stream() {
    let stage = Stage::new();
    let fleet = Fleet::launch(stage.plan(1));
    until(&fleet, |seen| seen.broken.count == 1).await;
    assert!(!fleet.served(PATIENCE).await);
    fleet.hang_up().await;

    let listener = listener_with_short_queue(&stage.socket);
    let fleet = Fleet::launch(stage.plan(20));
    // Nobody is accepted yet: the queue holds two, the others are refused and try again.
    let tally = fleet.tally();
    while tally.look(|seen| seen.refused) == 0 {
        tokio::task::yield_now().await;
    }
    let server = SdsServer::on(listener);
    stage.serve_good(&server);
    assert!(fleet.served(PATIENCE).await, "{:?}", tally.look(|seen| seen.broken.first.clone()));
}

fn listener_with_short_queue(path: &std::path::Path) -> UnixListener {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    rustix::net::listen(&socket, 1).unwrap();
    UnixListener::from_std(socket.into()).unwrap()
}
