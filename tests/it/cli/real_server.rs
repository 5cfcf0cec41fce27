//! The real server in this process, on the socket that the programs call.

use super::programs::Programs;
use finial::{
    config::Environment,
    runtime::Clock,
    server::{
        config::{self, Overrides},
        start::{RunningServer, Server},
        store::Node,
    },
    spiffe::{EntrySpec, SelectorSet, SpiffeId},
    wire::{
        entry,
        proto::spire::api::types::{Entry, Selector, Spiffeid},
    },
};

/// The tokens of the recorded session: one unused, one that an agent attested by.
const TOKENS: [&str; 2] =
    ["0ad23808-422d-49f5-80e5-987566d8b516", "9a75bcca-76e1-4684-8625-5b3276909f0f"];

/// A configuration without faults, but for what `data_dir` says.
pub(crate) fn configuration(data_dir: &str) -> String {
    format!(
        r#"server {{
    bind_address = "127.0.0.1"
    bind_port = "8081"
    socket_path = "server.sock"
    trust_domain = "example.org"
    {data_dir}
}}
plugins {{
    DataStore "sql" {{ plugin_data {{ database_type = "sqlite3", connection_string = "db" }} }}
    KeyManager "memory" {{ plugin_data {{}} }}
    NodeAttestor "join_token" {{ plugin_data {{}} }}
}}
"#
    )
}

/// Starts it; it ends with the test.
pub(crate) async fn start(programs: &Programs) -> RunningServer {
    let directory = programs.path().display();
    let text = configuration(&format!("data_dir = \"{directory}\""))
        .replace("\"server.sock\"", &format!("\"{directory}/server.sock\""))
        .replace("\"db\"", &format!("\"{directory}/db\""));
    programs.write("live.conf", &text);
    let path = programs.path().join("live.conf");
    let mut config =
        config::load(&path, Environment::Literal, &Overrides::default()).unwrap().config;
    // A port of the system's choice, which a file cannot ask for.
    config.bind.set_port(0);
    Server::start(config, Clock::system()).await.unwrap()
}

/// Gives it the agent and the aliases of the recorded session.
pub(crate) async fn attest_recorded_agent(server: &RunningServer) {
    let expires_at = Clock::system().unix_now() + 3_600;
    for token in TOKENS {
        let alias = Some(alias(token));
        server.store().create_join_token(token.to_owned(), expires_at, alias).await.unwrap();
    }
    let node = Node {
        id: agent(TOKENS[1]),
        attestation_type: "join_token".to_owned(),
        serial: "125152732557195857161749503414425209194".to_owned(),
        new_serial: String::new(),
        expires_at,
        new_expires_at: 0,
        banned: false,
        can_reattest: false,
        selectors: SelectorSet::default(),
        agent_version: "1.16.0-dev-unk".to_owned(),
    };
    server.store().attest_node(node, Some(TOKENS[1].to_owned())).await.unwrap();
}

fn agent(token: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://example.org/spire/agent/join_token/{token}")).unwrap()
}

fn alias(token: &str) -> EntrySpec {
    let agent = agent(token);
    let name = SpiffeId::parse("spiffe://example.org/node").unwrap();
    let selector = Selector { r#type: "spiffe_id".to_owned(), value: agent.to_string() };
    let alias = Entry {
        spiffe_id: Some(Spiffeid::from(&name)),
        parent_id: Some(Spiffeid::from(&agent)),
        selectors: vec![selector],
        ..Entry::default()
    };
    entry::spec(&alias).unwrap()
}
