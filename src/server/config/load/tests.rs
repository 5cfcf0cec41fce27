use std::collections::BTreeMap;
use std::time::Duration;

use super::super::model::*;
use super::*;
use crate::config::Warning;
use crate::config::listen::Prometheus;
use crate::config::log::{Format, Level, Log, LogFlags};
use crate::spiffe::TrustDomain;
use crate::x509::key::KeyType;

/// The least a server needs; tests add to it.
const LEAST: &str = r#"
server {
  trust_domain = "example.org"
  data_dir = "/var/lib/spire"
}
plugins {
  DataStore "sql" {
    plugin_data { database_type = "sqlite3" connection_string = "/var/lib/spire/store.sqlite3" }
  }
  KeyManager "memory" { plugin_data {} }
}
"#;

fn load_with(text: &str, overrides: &Overrides) -> Result<Loaded<ServerConfig>, Error> {
    let bytes = text.as_bytes().to_vec();
    let source = Source::new(Path::new("server.conf"), bytes, Environment::Literal)?;
    read(&source, overrides)
}

fn load(text: &str) -> Result<Loaded<ServerConfig>, Error> {
    load_with(text, &Overrides::default())
}

fn error(text: &str) -> String {
    load(text).unwrap_err().to_string()
}

/// `LEAST` with settings added to its `server` block, and blocks added at its end.
fn least_with(settings: &str, blocks: &str) -> String {
    LEAST.replacen("server {", &format!("server {{ {settings} "), 1) + blocks
}

#[test]
fn what_a_file_leaves_out_has_spires_default() {
    let Loaded { config, warnings } = load(LEAST).unwrap();
    assert_eq!(warnings, []);
    let wanted = ServerConfig {
        bind: "0.0.0.0:8081".parse().unwrap(),
        socket_path: "/tmp/spire-server/private/api.sock".into(),
        trust_domain: TrustDomain::parse("example.org").unwrap(),
        data_dir: "/var/lib/spire".into(),
        log: Log { level: Level::Info, format: Format::Text, file: None },
        ca: CaConfig {
            ttl: Duration::from_secs(86_400),
            key_type: KeyType::EcP256,
            subject: CaSubject {
                country: vec!["US".to_owned()],
                organization: vec!["SPIFFE".to_owned()],
                common_name: None,
            },
        },
        x509_svid_ttl: Duration::from_secs(3_600),
        agent_ttl: Duration::from_secs(3_600),
        rate_limit: RateLimit { attestation: true, signing: true },
        health_checks: None,
        prometheus: None,
        data_store: DataStore::Sqlite { connection_string: "/var/lib/spire/store.sqlite3".into() },
        key_manager: KeyManager::Memory,
        node_attestors: vec![],
        bundle_endpoint: None,
        bundle_maps: vec![],
    };
    assert_eq!(config, wanted);
}

const EVERYTHING: &str = r#"
server {
    bind_address = "127.0.0.1"
    bind_port = "8082"
    socket_path = "/run/spire/api.sock"
    trust_domain = "example.org"
    data_dir = "/run/spire"
    log_level = "DEBUG"
    log_format = "json"
    log_file = "/var/log/spire.log"
    ca_ttl = "72h"
    ca_key_type = "rsa-2048"
    ca_subject = {
        country = ["CH"],
        organization = ["Example"],
        common_name = "Root",
    }
    default_x509_svid_ttl = "4h"
    agent_ttl = "2h"
    ratelimit {
        attestation = false
        signing = false
    }
}
plugins {
    DataStore "sql" {
        plugin_data {
            database_type = "sqlite3"
            connection_string = "/run/spire/store.sqlite3"
        }
    }
    KeyManager "disk" {
        plugin_data { keys_path = "/run/spire/keys.json" }
    }
    NodeAttestor "join_token" { plugin_data {} }
    NodeAttestor "k8s_psat" { enabled = false plugin_data { clusters = {} } }
}
telemetry { Prometheus { host = "0.0.0.0" port = 9988 } }
health_checks {
    listener_enabled = true
    bind_address = "0.0.0.0"
    bind_port = "8080"
    live_path = "/l"
    ready_path = "/r"
}
"#;

/// `EVERYTHING` as the Helm chart writes it: blocks in lists, ports as strings, plugins as single-key objects.
const EVERYTHING_AS_JSON: &str = r#"{
  "health_checks": {"bind_address": "0.0.0.0", "bind_port": "8080", "listener_enabled": true,
                    "live_path": "/l", "ready_path": "/r"},
  "plugins": {
    "DataStore": [{"sql": {"plugin_data": {"connection_string": "/run/spire/store.sqlite3", "database_type": "sqlite3"}}}],
    "KeyManager": {"disk": {"plugin_data": [{"keys_path": "/run/spire/keys.json"}]}},
    "NodeAttestor": [{"join_token": {"plugin_data": {}}}, {"k8s_psat": {"enabled": false, "plugin_data": {"clusters": [{}]}}}]
  },
  "server": {
    "agent_ttl": "2h", "bind_address": "127.0.0.1", "bind_port": "8082", "ca_key_type": "rsa-2048",
    "ca_subject": [{"common_name": "Root", "country": ["CH"], "organization": ["Example"]}],
    "ca_ttl": "72h", "data_dir": "/run/spire", "default_x509_svid_ttl": "4h", "log_file": "/var/log/spire.log",
    "log_format": "json", "log_level": "debug", "ratelimit": [{"attestation": false, "signing": false}],
    "socket_path": "/run/spire/api.sock", "trust_domain": "example.org"
  },
  "telemetry": [{"Prometheus": [{"host": "0.0.0.0", "port": "9988"}]}]
}"#;

#[test]
fn hcl_and_json_spell_the_same_configuration() {
    let hcl = load(EVERYTHING).unwrap().config;
    let json = load(EVERYTHING_AS_JSON).unwrap().config;
    assert_eq!(hcl, json);
    assert_eq!(hcl.bind, "127.0.0.1:8082".parse().unwrap());
    assert_eq!(hcl.ca.ttl, Duration::from_secs(72 * 3_600));
    assert_eq!(hcl.ca.key_type, KeyType::Rsa2048);
    assert_eq!(hcl.ca.subject.common_name.as_deref(), Some("Root"));
    assert_eq!(hcl.agent_ttl, Duration::from_secs(7_200));
    assert_eq!(hcl.rate_limit, RateLimit { attestation: false, signing: false });
    assert_eq!(hcl.log.file.as_deref(), Some(Path::new("/var/log/spire.log")));
    assert_eq!(hcl.prometheus, Some(Prometheus { bind: "0.0.0.0:9988".parse().unwrap() }));
    assert_eq!(hcl.health_checks.unwrap().live_path, "/l");
    assert_eq!(hcl.key_manager, KeyManager::Disk { keys_path: "/run/spire/keys.json".into() });
    assert_eq!(hcl.node_attestors, [NodeAttestor::JoinToken]);
}

fn clusters(text: &str) -> BTreeMap<String, PsatCluster> {
    let config = load(&least_with("", text)).unwrap().config;
    let [NodeAttestor::K8sPsat { clusters }] = config.node_attestors.as_slice() else {
        panic!("{:?}", config.node_attestors);
    };
    clusters.clone()
}

#[test]
fn clusters_are_read_as_istio_the_chart_and_spires_documentation_write_them() {
    let least = PsatCluster {
        service_account_allow_list: vec!["spire:spire-agent".to_owned()],
        audience: vec!["spire-server".to_owned()],
        kube_config_file: None,
        allowed_node_label_keys: Vec::new(),
        allowed_pod_label_keys: Vec::new(),
        agent_id_from: AgentIdFrom::NodeUid,
    };
    let found = clusters(
        r#"plugins { NodeAttestor "k8s_psat" { plugin_data { clusters = {
             "demo-cluster" = { service_account_allow_list = ["spire:spire-agent"] }
        } } } }"#,
    );
    assert_eq!(found, [("demo-cluster".to_owned(), least.clone())].into());
    let found = clusters(
        r#"plugins { NodeAttestor "k8s_psat" { plugin_data { clusters {
             "a" { service_account_allow_list = ["spire:spire-agent"] audience = [] }
             "b" {
                service_account_allow_list = ["x:y", "spire:spire-agent"]
                audience = ["one", "two"]
                kube_config_file = "/etc/b.conf"
                allowed_node_label_keys = ["zone"]
                allowed_pod_label_keys = ["app"]
                use_pod_uid_for_agent_id = true
             }
        } } } }"#,
    );
    let b = PsatCluster {
        service_account_allow_list: vec!["x:y".to_owned(), "spire:spire-agent".to_owned()],
        audience: vec!["one".to_owned(), "two".to_owned()],
        kube_config_file: Some("/etc/b.conf".into()),
        allowed_node_label_keys: vec!["zone".to_owned()],
        allowed_pod_label_keys: vec!["app".to_owned()],
        agent_id_from: AgentIdFrom::PodUid,
    };
    let a = PsatCluster { audience: Vec::new(), ..least.clone() };
    assert_eq!(found, [("a".to_owned(), a), ("b".to_owned(), b)].into());
    let chart = r#"{"server": {"trust_domain": "example.org", "data_dir": "/d"}, "plugins": {
        "DataStore": [{"sql": {"plugin_data": {"database_type": "sqlite3", "connection_string": "/d/s"}}}],
        "KeyManager": [{"memory": {"plugin_data": {}}}],
        "NodeAttestor": [{"k8s_psat": {"plugin_data": {"clusters": [{"example-cluster": {
            "allowed_node_label_keys": [], "allowed_pod_label_keys": [], "audience": ["spire-server"],
            "service_account_allow_list": ["spire:spire-agent"]}}]}}}]}}"#;
    let clusters = [("example-cluster".to_owned(), least)].into();
    let found = load(chart).unwrap().config.node_attestors;
    assert_eq!(found, [NodeAttestor::K8sPsat { clusters }]);
}

#[test]
fn a_cluster_that_lets_nobody_in_or_says_what_nobody_knows_is_refused() {
    for (cluster, wanted) in [
        (r#""a" {}"#, "cluster \"a\" configuration must have at least one service account allowed"),
        (
            r#""a" { service_account_allow_list = ["x:y"] audiences = ["z"] }"#,
            "server.conf:13:105: unknown key \"audiences\" in \
             plugins.NodeAttestor.k8s_psat.plugin_data.clusters.a; did you mean \"audience\"?",
        ),
        (
            r#""a/../b" { service_account_allow_list = ["x:y"] }"#,
            "server.conf:13:62: cluster name \"a/../b\" cannot stand in an agent's ID: path cannot contain dot \
             segments",
        ),
        (
            r#""a" = { service_account_allow_list = ["x:y"] } "a" = { audience = "z" }"#,
            "server.conf:13:109: \"a\" is set twice, first at 13:62",
        ),
    ] {
        let block = format!(
            "\nplugins {{ NodeAttestor \"k8s_psat\" {{ plugin_data {{ clusters {{ {cluster} }} }} }} }}"
        );
        assert_eq!(error(&least_with("", &block)), wanted);
    }
    let none = load(&least_with("", "\nplugins { NodeAttestor \"k8s_psat\" {} }")).unwrap();
    assert_eq!(none.warnings, [Warning::NoClusters]);
}

#[test]
fn a_single_problem_reads_as_spire_prints_it() {
    for (from, to, wanted) in [
        ("data_dir = \"/var/lib/spire\"", "", "data_dir must be configured"),
        ("trust_domain = \"example.org\"", "", "trust_domain must be configured"),
        (
            "example.org",
            "EXAMPLE org",
            "could not parse trust_domain \"EXAMPLE org\": trust domain characters are limited to lowercase letters, \
             numbers, dots, dashes, and underscores",
        ),
        (
            "KeyManager \"memory\"",
            "KeyManager \"memory\" {} KeyManager \"memory\"",
            "plugin \"KeyManager\"/\"memory\" declared more than once",
        ),
        (
            "KeyManager \"memory\" { plugin_data {} }",
            "",
            "plugin type \"KeyManager\" constraint not satisfied: expected exactly 1 but got 0",
        ),
    ] {
        assert_eq!(error(&LEAST.replacen(from, to, 1)), wanted);
    }
    let server_only = LEAST.split("plugins").next().unwrap();
    assert_eq!(error(server_only), "plugins section must be configured");
}

#[test]
fn a_single_problem_of_ours_says_where_it_is() {
    for (settings, wanted) in [
        ("bind_port = 0", "server.bind_port must be a port from 1 to 65535, not 0"),
        ("bind_port = 65536", "server.bind_port must be a port from 1 to 65535, not 65536"),
        ("bind_port = -1", "server.bind_port must be a port from 1 to 65535, not -1"),
        (
            "bind_address = \"nowhere\"",
            "could not resolve \"nowhere\": invalid IP address syntax; give an IP address or localhost",
        ),
        ("ca_ttl = \"-1h\"", "could not parse ca_ttl \"-1h\": expected at least 1s"),
        (
            "agent_ttl = \"1 hour\"",
            "could not parse agent_ttl \"1 hour\": expected a duration such as 1h30m, 10s or 500ms",
        ),
        (
            "ca_key_type = \"ec-p521\"",
            "could not parse ca_key_type \"ec-p521\": expected one of rsa-2048, rsa-4096, ec-p256, ec-p384",
        ),
        ("log_format = \"xml\"", "could not parse log_format \"xml\": expected one of text, json"),
        (
            "admin_ids = \"x\"",
            "server.admin_ids is a SPIRE setting that finial does not support yet",
        ),
        (
            "experimental { require_pq_kem = true }",
            "server.experimental.require_pq_kem is a SPIRE setting that finial does not support yet",
        ),
        (
            "default_x509_ttl = \"1h\"",
            "unknown key \"default_x509_ttl\" in server; did you mean \"default_x509_svid_ttl\"?",
        ),
    ] {
        let error = error(&least_with(settings, ""));
        let (place, text) = error.split_once(": ").unwrap();
        assert!(place.starts_with("server.conf:2:"), "{error}");
        assert_eq!(text, wanted);
    }
}

#[test]
fn a_setting_that_is_not_supported_may_say_what_holds_without_it() {
    let plain = load(LEAST).unwrap().config;
    for settings in [
        "federation {}",
        "federation = [{}]",
        "experimental {}",
        "experimental { events_based_cache = false cache_reload_interval = \"5s\" require_pq_kem = false }",
        "admin_ids = []",
        "audit_log_enabled = false log_source_location = false",
        "jwt_issuer = \"\" jwt_key_type = \"\" default_jwt_svid_ttl = \"5m\" disable_jwt_svids = true",
        "profiling_enabled = false profiling_port = 6060 profiling_freq = 5 profiling_names = [\"heap\"]",
        "prune_attested_nodes_batch_size = 10 prune_tofu_nodes = true",
    ] {
        let loaded = load(&least_with(settings, "")).unwrap_or_else(|e| panic!("{settings}: {e}"));
        assert_eq!(loaded.config, plain, "{settings}");
    }
    for (settings, refused) in [
        ("admin_ids = [\"spiffe://example.org/admin\"]", "admin_ids"),
        ("audit_log_enabled = true", "audit_log_enabled"),
        ("profiling_enabled = true profiling_port = 6060", "profiling_enabled"),
        (
            "prune_attested_nodes_expired_for = \"1h\" prune_tofu_nodes = true",
            "prune_attested_nodes_expired_for",
        ),
    ] {
        let error = error(&least_with(settings, ""));
        let wanted =
            format!("server.{refused} is a SPIRE setting that finial does not support yet");
        assert!(error.ends_with(&wanted) && !error.contains("problems"), "{error}");
    }
}

#[test]
fn blocks_outside_of_server_are_checked_too() {
    for (blocks, wanted) in [
        ("telemetry { Prometheus { } }", "telemetry.Prometheus.port must be configured"),
        (
            "\ntelemetry { Statsd = [{ address = \"x\" }] }",
            "server.conf:13:13: telemetry.Statsd is a SPIRE setting that finial does not support yet",
        ),
        (
            "\nhealth_checks { listener_enabled = true bind_port = 99999 }",
            "server.conf:13:53: health_checks.bind_port must be a port from 1 to 65535, not 99999",
        ),
        (
            "\nplugins { KeyManager \"vault\" { plugin_data { a = 1 } } }",
            "2 problems\n  server.conf:13:22: unknown KeyManager plugin \"vault\"\n  \
             server.conf: plugin type \"KeyManager\" constraint not satisfied: expected exactly 1 but got 2",
        ),
        (
            "\nplugins { NodeAttestor \"join_tokn\" {} }",
            "server.conf:13:24: unknown NodeAttestor plugin \"join_tokn\"; did you mean \"join_token\"?",
        ),
        (
            "\nplugins { NodeAttestor \"join_token\" { plugin_cmd = \"/bin/x\" } }",
            "server.conf:13:39: plugins.NodeAttestor.join_token.plugin_cmd is a SPIRE setting that finial does not \
             support yet",
        ),
        ("\nagent { }", "server.conf:13:1: unknown key \"agent\""),
    ] {
        assert_eq!(error(&least_with("", blocks)), wanted);
    }
}

#[test]
fn a_database_that_finial_does_not_have_is_refused_by_name() {
    let text = LEAST.replacen("sqlite3", "postgres", 1);
    assert_eq!(
        error(&text),
        "server.conf:8:35: could not parse database_type \"postgres\": finial does not support it yet, only sqlite3"
    );
}

#[test]
fn a_socket_path_longer_than_the_system_allows_is_refused() {
    let fits = format!("/{}", "s".repeat(106));
    let config = load(&least_with(&format!("socket_path = \"{fits}\""), "")).unwrap().config;
    assert_eq!(config.socket_path, Path::new(&fits));
    let error = error(&least_with(&format!("socket_path = \"{fits}x\""), ""));
    assert!(error.ends_with("has 108 bytes, and the system allows 107"), "{error}");
}

#[test]
fn a_relative_socket_path_is_made_absolute() {
    let config = load(&least_with("socket_path = \"api.sock\"", "")).unwrap().config;
    assert!(config.socket_path.is_absolute());
    assert!(config.socket_path.ends_with("api.sock"));
}

#[test]
fn settings_of_jwt_svids_have_no_effect_and_say_so() {
    let warnings = |settings: &str| load(&least_with(settings, "")).unwrap().warnings;
    let settings = "jwt_issuer = \"https://x\" default_jwt_svid_ttl = \"1h\"";
    let [warning] = &warnings(settings)[..] else { panic!("one warning") };
    let wanted = "jwt_issuer, default_jwt_svid_ttl without effect: finial issues no JWT-SVIDs yet";
    assert!(warning.to_string().starts_with(wanted), "{warning}");
    assert_eq!(warnings(&format!("{settings} disable_jwt_svids = true")), []);
}

#[test]
fn lifetimes_that_the_ca_cannot_carry_are_warned_about() {
    let warnings = |settings: &str| load(&least_with(settings, "")).unwrap().warnings;
    assert_eq!(warnings("ca_ttl = \"6h\""), []);
    let [warning] = &warnings("ca_ttl = \"3h\"")[..] else { panic!("one warning") };
    assert_eq!(
        warning.to_string(),
        "default_x509_svid_ttl is too high for the configured ca_ttl value. SVIDs with shorter lifetimes may be \
         issued. Please set default_x509_svid_ttl to 30m or less, or the ca_ttl to 6h or more, to guarantee the full \
         default_x509_svid_ttl lifetime when CA rotations are scheduled."
    );
    assert_eq!(
        warnings("ca_ttl = \"8760h\" agent_ttl = \"200h\""),
        [Warning::LongerThanAnyCa {
            setting: "agent_ttl",
            longest: Duration::from_secs(7 * 86_400)
        }]
    );
}

#[test]
fn an_empty_ca_subject_is_warned_about_and_replaced() {
    let settings = "ca_subject { country = [] common_name = \"\" }";
    let Loaded { config, warnings } = load(&least_with(settings, "")).unwrap();
    assert_eq!(warnings, [Warning::EmptyCaSubject]);
    assert_eq!(config.ca.subject, CaSubject::default());
}

#[test]
fn flags_go_over_the_file() {
    let text = |text: &str| Some(text.to_owned());
    let overrides = Overrides {
        bind_address: text("::1"),
        server_port: text("9000"),
        socket_path: text("/s"),
        trust_domain: text("other.org"),
        data_dir: text("/d"),
        log: LogFlags { level: text("warn"), format: text("JSON"), file: text("/l") },
    };
    let config = load_with(EVERYTHING, &overrides).unwrap().config;
    assert_eq!(config.bind, "[::1]:9000".parse().unwrap());
    assert_eq!(config.socket_path, Path::new("/s"));
    assert_eq!(config.trust_domain, TrustDomain::parse("other.org").unwrap());
    assert_eq!(config.data_dir, Path::new("/d"));
    let log = Log { level: Level::Warn, format: Format::Json, file: Some("/l".into()) };
    assert_eq!(config.log, log);
    let unset = Overrides { trust_domain: text(""), ..Overrides::default() };
    assert_eq!(load_with(LEAST, &unset).unwrap().config, load(LEAST).unwrap().config);
}

#[test]
fn a_bad_flag_is_named_by_its_flag() {
    let text = |text: &str| Some(text.to_owned());
    let overrides = Overrides {
        server_port: text("99999"),
        log: LogFlags { level: text("loud"), ..LogFlags::default() },
        ..Overrides::default()
    };
    let error = load_with(LEAST, &overrides).unwrap_err().to_string();
    assert_eq!(
        error,
        "2 problems\n  \
         -logLevel: could not parse log_level \"loud\": expected one of debug, info, warn, error, trace, warning, \
         fatal, panic\n  \
         -serverPort: server.bind_port must be a port from 1 to 65535, not 99999"
    );
}

#[test]
fn an_empty_file_lists_all_that_a_server_needs() {
    assert_eq!(
        error(""),
        "3 problems\n  server.conf: trust_domain must be configured\n  server.conf: data_dir must be configured\n  \
         server.conf: plugins section must be configured"
    );
}
