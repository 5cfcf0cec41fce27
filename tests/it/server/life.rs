//! Start, restart, and ends of every kind: what was acknowledged stays.

use super::fixture::{Agent, Fixture, attest, config, connect, spec, trust_domain};
use finial::{
    runtime::Clock,
    server::{
        start::{Server, StartError},
        store::StoreError,
    },
    transport::channel::{self, Address},
    wire::proto::spire::api::{
        server::{
            agent::v1::{CreateJoinTokenRequest, PostStatusRequest, agent_client::AgentClient},
            entry::v1::{BatchCreateEntryRequest, entry_client::EntryClient},
        },
        types,
    },
};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tonic::transport::Channel;

async fn post_status(channel: Channel) -> Result<(), tonic::Status> {
    let request = PostStatusRequest { agent_version: "1".to_owned(), ..Default::default() };
    AgentClient::new(channel).post_status(request).await.map(drop)
}

#[tokio::test]
async fn a_restart_keeps_agents_entries_and_the_authority() {
    let fixture = Fixture::start().await;
    let agent = fixture.agent().await;
    let entry = fixture.create_entry(spec(agent.svid.id(), "/w")).await;
    let unused = fixture.token().await;
    let (bundle, ca) = (fixture.bundle(), fixture.server.ca_state().current());
    let fixture = fixture.restart().await;
    assert_eq!(*fixture.bundle(), *bundle);
    let active = fixture.server.ca_state().current().active.unwrap();
    assert_eq!(active.id, ca.active.unwrap().id);
    assert_eq!(fixture.server.store().entry(&entry.id), Some(entry));
    post_status(fixture.connect_as(&agent.svid).await).await.unwrap();
    attest(fixture.anonymous().await, &unused).await.unwrap();
}

#[tokio::test]
async fn a_second_server_on_the_same_directory_is_refused_and_disturbs_nothing() {
    let fixture = Fixture::start().await;
    let agent = fixture.agent().await;
    let Err(error) = fixture.second().await else { panic!("two servers on one database") };
    assert!(matches!(error, StartError::Store(StoreError::InUse { .. })), "{error}");
    post_status(fixture.connect_as(&agent.svid).await).await.unwrap();
    fixture.token().await;
}

#[tokio::test]
async fn a_server_that_cannot_have_its_address_gives_its_store_back() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut refused = config(dir.path());
    refused.bind = taken.local_addr().unwrap();
    let Err(error) = Server::start(refused, Clock::system()).await else { panic!("it started") };
    assert!(error.to_string().contains("bind_port"), "{error}");
    let started = Server::start(config(dir.path()), Clock::system()).await.unwrap();
    started.shutdown().await;
}

#[tokio::test]
async fn only_the_owner_and_the_group_reach_the_private_socket_and_only_the_owner_the_data() {
    let fixture = Fixture::start().await;
    let mode = |path: &str| {
        let metadata = fs::symlink_metadata(fixture.dir.path().join(path)).unwrap();
        metadata.permissions().mode() & 0o7777
    };
    assert_eq!(mode("private"), 0o750);
    assert_eq!(mode("private/api.sock"), 0o770);
    assert_eq!(mode("data"), 0o700);
    assert_eq!(mode("data/keys.json"), 0o600);
    assert_eq!(mode("data/datastore.sqlite3") & 0o077, 0);
}

/// A server in a process of its own.
struct Process {
    child: Child,
    address: Address,
}

impl Process {
    /// Starts [`child_server`] of this test binary on `dir`.
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "server::life::child_server", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{}", dir.display()).unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| line.unwrap().strip_prefix("port ")?.parse().ok());
        Self { child, address: Address { host: "127.0.0.1".to_owned(), port: port.unwrap() } }
    }

    /// kill -9.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
#[ignore = "the child process of `what_was_acknowledged_survives_kill_9`"]
async fn child_server() {
    let mut dir = String::new();
    std::io::stdin().read_line(&mut dir).unwrap();
    let server = Server::start(config(Path::new(dir.trim())), Clock::system()).await.unwrap();
    println!("port {}", server.local_addr.port());
    std::future::pending::<()>().await;
}

async fn create(local: &Channel, parent: &str, path: String) -> String {
    let id = |path: &str| types::Spiffeid {
        trust_domain: trust_domain().name().to_owned(),
        path: path.to_owned(),
    };
    let entry = types::Entry {
        spiffe_id: Some(id(&path)),
        parent_id: Some(id(parent)),
        selectors: vec![types::Selector { r#type: "unix".into(), value: "uid:0".into() }],
        ..types::Entry::default()
    };
    let request = BatchCreateEntryRequest { entries: vec![entry], output_mask: None };
    let mut client = EntryClient::new(local.clone());
    let answer = client.batch_create_entry(request).await.unwrap().into_inner();
    answer.results[0].entry.clone().unwrap().id
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let socket = config(dir.path()).socket_path;
    let mut known: Option<(Agent, std::sync::Arc<finial::spiffe::Bundle>)> = None;
    let mut entries = Vec::new();
    for round in 0..3 {
        let process = Process::start(dir.path());
        let local = channel::connect_uds(&socket).await.unwrap();
        if let Some((agent, bundle)) = &known {
            let svid = std::sync::Arc::clone(&agent.svid);
            let channel = connect(&process.address, bundle.clone(), Some(svid)).await.unwrap();
            post_status(channel).await.unwrap();
        } else {
            let token = CreateJoinTokenRequest { ttl: 60, ..CreateJoinTokenRequest::default() };
            let token = AgentClient::new(local.clone()).create_join_token(token).await.unwrap();
            let blind = finial::transport::verify::ServerTrust::InsecureBootstrap {
                expected: trust_domain().server_id(),
            };
            let anonymous =
                channel::connect(&process.address, blind, None, Clock::system()).await.unwrap();
            let bundle = super::fixture::fetch_bundle(anonymous.clone()).await;
            let agent = attest(anonymous, &token.into_inner().value).await.unwrap();
            known = Some((agent, bundle.into()));
        }
        for number in 0..20 {
            entries.push(create(&local, "/node", format!("/w{round}-{number}")).await);
        }
        process.kill();
    }
    let server = Server::start(config(dir.path()), Clock::system()).await.unwrap();
    let stored: Vec<_> =
        server.store().entries().iter().map(|entry| entry.id.to_string()).collect();
    assert_eq!(stored, entries);
    tokio::time::timeout(Duration::from_secs(10), server.shutdown()).await.unwrap();
}
