//! A server and an agent as processes with configuration files, and two Envoys that they serve.

use finial::{
    dev::{envoy::certificates, mesh::Side, server_api::ServerApi},
    spiffe::{Selector, SpiffeId},
    testing::envoy::{Lab, LoadedMesh, identity},
    transport::channel,
    wire::proto::spire::api::{
        server::entry::v1::{
            BatchUpdateEntryRequest, ListEntriesRequest, entry_client::EntryClient,
        },
        types::EntryMask,
    },
    x509::cert::Serial,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::Instant,
};

/// An Envoy that lost its agent a few times waits some seconds before it tries again
/// (istio-envoy.md §13).
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that another process does.
const POLL: Duration = Duration::from_millis(5);
/// What the entries hang on.
const NODE: &str = "spiffe://example.org/node";

/// The processes. Dropping it kills them.
pub(crate) struct Field {
    pub(crate) lab: Lab,
    server: Option<Child>,
    agent: Option<Child>,
    token: String,
    /// In memory, where the agent may hand its SVIDs to the next one.
    memory: TempDir,
}

impl Field {
    /// Starts a server, an agent that joins it, and registers both sides of `lab`.
    pub(crate) async fn start(lab: Lab) -> Self {
        let memory = tempfile::Builder::new().prefix("finial-").tempdir_in("/dev/shm").unwrap();
        let mut field = Self { lab, server: None, agent: None, token: String::new(), memory };
        fs::write(field.path("server.conf"), field.server_configuration()).unwrap();
        field.start_server().await;
        let api = field.api().await;
        let node = SpiffeId::parse(NODE).unwrap();
        field.token = api.join_token(&node).await.unwrap();
        for side in Side::BOTH {
            let id = SpiffeId::parse(&format!("spiffe://example.org/{}", identity(side))).unwrap();
            let selector = Selector::parse(&field.lab.selector(side)).unwrap();
            api.register(&node, &id, selector).await.unwrap();
        }
        fs::write(field.path("agent.conf"), field.agent_configuration()).unwrap();
        field.start_agent();
        field
    }

    /// Starts the server and waits until it answers.
    pub(crate) async fn start_server(&mut self) {
        self.server = Some(self.run("server", &[]));
        self.api().await;
    }

    /// Starts the agent. Whoever asks it for something waits.
    pub(crate) fn start_agent(&mut self) {
        self.agent = Some(self.run("agent", &[]));
    }

    /// Upgrades the agent as a DaemonSet with `maxSurge` does: the next one starts and takes the socket,
    /// then the last one is asked to end.
    pub(crate) async fn replace_agent(&mut self) {
        let socket = self.lab.socket();
        let inode = || fs::metadata(&socket).unwrap().ino();
        let before = inode();
        let next = self.run("agent", &["-replace"]);
        let deadline = Instant::now() + PATIENCE;
        while inode() == before {
            assert!(Instant::now() < deadline, "the socket is not taken over; {}", self.logs());
            tokio::time::sleep(POLL).await;
        }
        self.signal_agent(Signal::TERM);
        let mut last = self.agent.replace(next).unwrap();
        assert!(last.wait().await.unwrap().success());
    }

    /// Ends the server as no program can prepare for.
    pub(crate) async fn kill_server(&mut self) {
        self.server.take().unwrap().kill().await.unwrap();
    }

    /// Ends the agent as no program can prepare for.
    pub(crate) async fn kill_agent(&mut self) {
        self.agent.take().unwrap().kill().await.unwrap();
    }

    /// Lets the agent stand still.
    pub(crate) fn pause_agent(&self) {
        self.signal_agent(Signal::STOP);
    }

    /// Lets the agent go on.
    pub(crate) fn resume_agent(&self) {
        self.signal_agent(Signal::CONT);
    }

    /// Waits until each Envoy has connected `connections` times in all and has both of its secrets from
    /// the last one.
    pub(crate) async fn reconnected(&self, loaded: &LoadedMesh, connections: u64) {
        let deadline = Instant::now() + PATIENCE;
        for side in Side::BOTH {
            loop {
                let stats = loaded.stats(side).await;
                let answered = ["default", "ROOTCA"]
                    .iter()
                    .all(|name| stats.value(&format!("sds.{name}.update_success")) >= connections);
                if answered && stats.value("cluster.sds-grpc.upstream_rq_active") == 2 {
                    break;
                }
                assert!(
                    Instant::now() < deadline,
                    "{side:?} has not come back: {:?}; {}",
                    stats.nonzero("sds").collect::<Vec<_>>(),
                    self.logs()
                );
                tokio::time::sleep(POLL).await;
            }
        }
    }

    /// Has both sides signed anew and waits until both use what they got.
    pub(crate) async fn rotate(&self, loaded: &LoadedMesh) {
        let before =
            [self.in_use(loaded, Side::Client).await, self.in_use(loaded, Side::Server).await];
        self.renew().await;
        let deadline = Instant::now() + PATIENCE;
        for (side, before) in Side::BOTH.into_iter().zip(before) {
            while self.in_use(loaded, side).await == before {
                assert!(Instant::now() < deadline, "{side:?} uses the old one; {}", self.logs());
                tokio::time::sleep(POLL).await;
            }
        }
    }

    async fn in_use(&self, loaded: &LoadedMesh, side: Side) -> Vec<Serial> {
        let id = self.lab.plan.identities.of(side);
        certificates::in_use(loaded.mesh.envoys.of(side).admin(), id).await.unwrap()
    }

    /// Shortens the life of every entry's SVID by a second, which asks for another at once.
    async fn renew(&self) {
        let channel = channel::connect_uds(&self.path("server.sock")).await.unwrap();
        let mut client = EntryClient::new(channel);
        let listed = client.list_entries(ListEntriesRequest::default()).await.unwrap().into_inner();
        let mut entries = listed.entries;
        entries.retain(|entry| !entry.selectors.iter().any(|s| s.r#type == "spiffe_id"));
        for entry in &mut entries {
            entry.x509_svid_ttl =
                if entry.x509_svid_ttl == 0 { 3_600 } else { entry.x509_svid_ttl } - 1;
        }
        let input_mask = Some(EntryMask { x509_svid_ttl: true, ..EntryMask::default() });
        let request = BatchUpdateEntryRequest { entries, input_mask, output_mask: None };
        let updated = client.batch_update_entry(request).await.unwrap().into_inner();
        let codes: Vec<_> =
            updated.results.iter().map(|r| r.status.as_ref().unwrap().code).collect();
        assert_eq!(codes, [0, 0]);
    }

    /// The server's API, as soon as it answers.
    async fn api(&self) -> ServerApi {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match ServerApi::connect(&self.path("server.sock")).await {
                Ok(api) => return api,
                Err(error) => assert!(Instant::now() < deadline, "{error}; {}", self.logs()),
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Starts one of the programs, its log in a file.
    fn run(&self, program: &str, flags: &[&str]) -> Child {
        let log =
            File::options().create(true).append(true).open(self.path(&format!("{program}.log")));
        let config = self.path(&format!("{program}.conf"));
        Command::new(env!("CARGO_BIN_EXE_finial"))
            .args([program, "run", "-config"])
            .arg(config)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.unwrap())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    fn signal_agent(&self, signal: Signal) {
        let pid = self.agent.as_ref().and_then(Child::id).unwrap();
        kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
    }

    fn logs(&self) -> String {
        let log = |program: &str| {
            fs::read_to_string(self.path(&format!("{program}.log"))).unwrap_or_default()
        };
        format!("server:\n{}\nagent:\n{}", log("server"), log("agent"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.lab.directory().join(name)
    }

    fn server_configuration(&self) -> String {
        format!(
            "server {{\n bind_address = \"127.0.0.1\"\n bind_port = {port}\n socket_path = {socket:?}\n \
             trust_domain = \"example.org\"\n data_dir = {data:?}\n}}\n\
             plugins {{\n DataStore \"sql\" {{ plugin_data {{ database_type = \"sqlite3\"\n \
             connection_string = {store:?} }} }}\n \
             KeyManager \"disk\" {{ plugin_data {{ keys_path = {keys:?} }} }}\n \
             NodeAttestor \"join_token\" {{ plugin_data {{}} }}\n}}\n",
            port = free_port(),
            socket = self.path("server.sock"),
            data = self.path("server"),
            store = self.path("server/store.sqlite3"),
            keys = self.path("server/keys.json"),
        )
    }

    fn agent_configuration(&self) -> String {
        let server = fs::read_to_string(self.path("server.conf")).unwrap();
        let port = server.split("bind_port = ").nth(1).unwrap().lines().next().unwrap();
        let data = self.memory.path();
        format!(
            "agent {{\n trust_domain = \"example.org\"\n server_address = \"127.0.0.1\"\n \
             server_port = {port}\n socket_path = {socket:?}\n data_dir = {data:?}\n \
             insecure_bootstrap = true\n join_token = {token:?}\n}}\n\
             plugins {{\n KeyManager \"disk\" {{ plugin_data {{ directory = {data:?} }} }}\n \
             NodeAttestor \"join_token\" {{ plugin_data {{}} }}\n \
             WorkloadAttestor \"unix\" {{ plugin_data {{ discover_workload_path = true }} }}\n}}\n",
            socket = self.lab.socket(),
            token = self.token,
        )
    }
}

/// A port that nobody had a moment ago: a file must name the server's.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
