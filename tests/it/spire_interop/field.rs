//! A server and an agent, of one make or of two, as processes with the same configuration files.

use crate::cli::programs::Programs;
use finial::{
    runtime::Clock,
    spiffe::{SpiffeId, X509Svid},
    testing::{
        sds::{Answer, SdsClient, SdsStream},
        secret::{Authorities, verify_secret},
    },
    x509::pem,
};
use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    process::Child,
    time::{Instant, sleep, timeout},
};

/// A spire-server reads its entries every 5 s and a spire-agent asks for them every 5 s.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that another process does.
pub(crate) const POLL: Duration = Duration::from_millis(50);
/// What the entries hang on.
pub(crate) const NODE: &str = "spiffe://example.org/node";

/// Whose program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Make {
    Finial,
    Spire,
}

/// The processes. Dropping it kills them.
pub(crate) struct Field {
    pub(crate) programs: Programs,
    server: Option<Child>,
    agent: Option<Child>,
    makes: (Make, Make),
}

impl Make {
    /// Its program `name`, from the field's directory.
    fn program(self, name: &str) -> String {
        match self {
            Self::Finial => name.to_owned(),
            Self::Spire => format!("spire/{name}"),
        }
    }
}

impl Field {
    /// Starts a server of one make, and waits until it is healthy.
    pub(crate) async fn server(spire: &Path, make: Make) -> Self {
        Self::server_with(spire, make, "").await
    }

    async fn server_with(spire: &Path, make: Make, settings: &str) -> Self {
        let programs = Programs::with_spire(spire);
        programs.write("server.conf", &server_configuration(free_port(), settings));
        let mut field = Self { programs, server: None, agent: None, makes: (make, make) };
        field.start_server().await;
        field
    }

    /// Starts a server of one make and an agent of another that joins it, and waits until both are
    /// healthy.
    pub(crate) async fn start(spire: &Path, server: Make, agent: Make) -> Self {
        Self::start_with(spire, server, agent, "").await
    }

    /// The same with more settings of the server.
    pub(crate) async fn start_with(
        spire: &Path,
        server: Make,
        agent: Make,
        settings: &str,
    ) -> Self {
        let mut field = Self::server_with(spire, server, settings).await;
        field.makes.1 = agent;
        let bundle = field.say(agent, "spire-server bundle show").await;
        field.programs.write("bundle.pem", &bundle);
        let token = format!("spire-server token generate -spiffeID {NODE}");
        let token = field.say(agent, &token).await;
        let token = token.strip_prefix("Token: ").unwrap().trim();
        let configuration = agent_configuration(&field.port());
        field.programs.write("agent.conf", &configuration);
        field.start_agent(&["-joinToken", token]).await;
        field
    }

    /// Starts the server and waits until it is healthy.
    pub(crate) async fn start_server(&mut self) {
        let make = self.makes.0;
        self.server = Some(self.run(make, "spire-server", "server.conf", &[]));
        self.healthy(make, "spire-server healthcheck").await;
    }

    /// Starts the agent and waits until it is healthy.
    pub(crate) async fn start_agent(&mut self, flags: &[&str]) {
        let make = self.makes.1;
        self.agent = Some(self.run(make, "spire-agent", "agent.conf", flags));
        self.healthy(make, "spire-agent healthcheck").await;
    }

    /// The agent of another make on what the last one has stored.
    pub(crate) async fn replace_agent(&mut self, make: Make) {
        self.kill_agent().await;
        self.makes.1 = make;
        self.start_agent(&[]).await;
    }

    /// Ends the server as no program can prepare for.
    pub(crate) async fn kill_server(&mut self) {
        self.server.take().unwrap().kill().await.unwrap();
    }

    /// Ends the agent as no program can prepare for.
    pub(crate) async fn kill_agent(&mut self) {
        self.agent.take().unwrap().kill().await.unwrap();
    }

    /// What a command of this make prints; it must succeed.
    pub(crate) async fn say(&self, make: Make, command: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        let outcome = self.programs.run(&make.program(words[0]), &words[1..], b"").await;
        assert_eq!((outcome.exit, outcome.stderr.as_str()), (0, ""), "{make:?}: {command}");
        outcome.stdout
    }

    /// Registers `name` for whoever runs this test; the entry's id.
    pub(crate) async fn register(&self, make: Make, name: &str) -> String {
        self.register_with(make, name, "").await
    }

    /// The same with more flags.
    pub(crate) async fn register_with(&self, make: Make, name: &str, flags: &str) -> String {
        let create = format!(
            "spire-server entry create -parentID {NODE} -spiffeID {} -selector {} {flags}",
            id(name),
            selector()
        );
        let said = self.say(make, &create).await;
        let first = said.lines().next().unwrap();
        first.strip_prefix("Entry ID                : ").unwrap().to_owned()
    }

    /// What a waiting Envoy gets for `name` in the end, verified by the authorities that a stream of the
    /// same socket gives and by those that the server's own command prints.
    pub(crate) async fn svid(&self, name: &str) -> X509Svid {
        let (mut stream, answer) = self.secret(id(name).as_str()).await;
        stream.ack(&answer).unwrap();
        let (_, roots) = self.secret("ROOTCA").await;
        let served = Authorities::of(roots.secret("ROOTCA").unwrap()).unwrap();
        let shown = self.authorities().await;
        let (secret, now) = (answer.secret(id(name).as_str()).unwrap(), Clock::system().now());
        let svid = verify_secret(secret, &served, now).unwrap();
        assert_eq!(verify_secret(secret, &shown, now).unwrap().id(), svid.id());
        assert_eq!(*svid.id(), id(name));
        svid
    }

    /// The authorities that the server's own command prints.
    pub(crate) async fn authorities(&self) -> Authorities {
        let shown = self.say(self.makes.0, "spire-server bundle show").await;
        Authorities::Pooled(pem::read_certificates(shown.as_bytes()).unwrap())
    }

    /// The SVID of `name`, as soon as it is another one than `svid`.
    pub(crate) async fn successor(&self, name: &str, svid: &X509Svid) -> X509Svid {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.svid(name).await;
            if found.chain() != svid.chain() {
                return found;
            }
            assert!(Instant::now() < deadline, "{name} is not replaced; {}", self.logs());
            sleep(POLL).await;
        }
    }

    /// A stream that has been answered, asking again where it is turned away.
    pub(crate) async fn secret(&self, name: &str) -> (SdsStream, Answer) {
        let socket = self.programs.agent_socket();
        let asking = async {
            loop {
                let Ok(client) = SdsClient::connect(&socket).await else {
                    sleep(POLL).await;
                    continue;
                };
                let mut stream = client.stream(&[name]).await.unwrap();
                if let Ok(answer) = stream.next().await {
                    return (stream, answer);
                }
                sleep(POLL).await;
            }
        };
        let got = timeout(PATIENCE, asking).await;
        got.unwrap_or_else(|_| panic!("{name} never came; {}", self.logs()))
    }

    /// Waits until `accept` likes what the command prints.
    pub(crate) async fn until(&self, make: Make, command: &str, accept: impl Fn(&str) -> bool) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let outcome = self.programs.run(&make.program(words[0]), &words[1..], b"").await;
            if accept(&outcome.stdout) {
                return;
            }
            assert!(Instant::now() < deadline, "{command}: {outcome:?}; {}", self.logs());
            sleep(POLL).await;
        }
    }

    /// Waits until the agent's log has these words.
    pub(crate) async fn logged(&self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !fs::read_to_string(self.log("spire-agent")).unwrap().contains(words) {
            assert!(Instant::now() < deadline, "no {words:?}; {}", self.logs());
            sleep(POLL).await;
        }
    }

    async fn healthy(&self, make: Make, command: &str) {
        self.until(make, command, |said| said.ends_with("is healthy.\n")).await;
    }

    /// Starts a program, its log in a file.
    fn run(&self, make: Make, name: &str, configuration: &str, flags: &[&str]) -> Child {
        let log = File::options().create(true).append(true).open(self.log(name)).unwrap();
        self.programs
            .command(&make.program(name))
            .args(["run", "-config", configuration])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn logs(&self) -> String {
        let log = |name: &str| fs::read_to_string(self.log(name)).unwrap_or_default();
        format!("server:\n{}\nagent:\n{}", log("spire-server"), log("spire-agent"))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.programs.path().join(format!("{name}.log"))
    }

    fn port(&self) -> String {
        let server = fs::read_to_string(self.programs.path().join("server.conf")).unwrap();
        server.split("bind_port = ").nth(1).unwrap().lines().next().unwrap().to_owned()
    }
}

/// The identity called `name`.
pub(crate) fn id(name: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://example.org/{name}")).unwrap()
}

/// What the process that runs this test has.
pub(crate) fn selector() -> String {
    format!("unix:uid:{}", rustix::process::getuid().as_raw())
}

fn server_configuration(port: u16, settings: &str) -> String {
    format!(
        "server {{\n bind_address = \"127.0.0.1\"\n bind_port = {port}\n socket_path = \"server.sock\"\n \
         trust_domain = \"example.org\"\n data_dir = \"server\"\n {settings}\n}}\n\
         plugins {{\n DataStore \"sql\" {{ plugin_data {{ database_type = \"sqlite3\"\n \
         connection_string = \"store.sqlite3\" }} }}\n \
         KeyManager \"disk\" {{ plugin_data {{ keys_path = \"keys.json\" }} }}\n \
         NodeAttestor \"join_token\" {{ plugin_data {{}} }}\n}}\n"
    )
}

fn agent_configuration(port: &str) -> String {
    format!(
        "agent {{\n trust_domain = \"example.org\"\n server_address = \"127.0.0.1\"\n \
         server_port = {port}\n socket_path = \"pub/api.sock\"\n data_dir = \"agent\"\n \
         trust_bundle_path = \"bundle.pem\"\n}}\n\
         plugins {{\n KeyManager \"disk\" {{ plugin_data {{ directory = \"agent\" }} }}\n \
         NodeAttestor \"join_token\" {{ plugin_data {{}} }}\n \
         WorkloadAttestor \"unix\" {{ plugin_data {{}} }}\n}}\n"
    )
}

/// A port that nobody had a moment ago: a file must name the server's.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
