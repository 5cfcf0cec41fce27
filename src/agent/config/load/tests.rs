use std::time::Duration;

use super::super::model::*;
use super::*;
use crate::config::Warning;
use crate::config::listen::Prometheus;
use crate::config::log::{Format, Level, Log, LogFlags};
use crate::config::secret::Secret;
use crate::k8s::tls::{Authentication, Verification};
use crate::spiffe::TrustDomain;

/// The least an agent needs; tests add to it.
const LEAST: &str = r#"
agent {
  trust_domain = "example.org"
  server_address = "spire-server"
  server_port = 8081
  trust_bundle_path = "/run/bundle.crt"
}
plugins {
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "memory" { plugin_data {} }
  WorkloadAttestor "unix" { plugin_data {} }
}
"#;

fn load_with(text: &str, overrides: &Overrides) -> Result<Loaded<AgentConfig>, Error> {
    let bytes = text.as_bytes().to_vec();
    let source = Source::new(Path::new("agent.conf"), bytes, Environment::Literal)?;
    read(&source, overrides)
}

fn load(text: &str) -> Result<Loaded<AgentConfig>, Error> {
    load_with(text, &Overrides::default())
}

fn error(text: &str) -> String {
    load(text).unwrap_err().to_string()
}

/// `LEAST` with settings added to its `agent` block, and blocks added at its end.
fn least_with(settings: &str, blocks: &str) -> String {
    LEAST.replacen("agent {", &format!("agent {{ {settings} "), 1) + blocks
}

#[test]
fn what_a_file_leaves_out_has_spires_default() {
    let Loaded { config, warnings } = load(LEAST).unwrap();
    assert_eq!(warnings, []);
    let wanted = AgentConfig {
        trust_domain: TrustDomain::parse("example.org").unwrap(),
        data_dir: ".".into(),
        log: Log { level: Level::Info, format: Format::Text, file: None },
        server: ServerAddress { host: "spire-server".to_owned(), port: 8081 },
        bootstrap: Bootstrap::Bundle { path: "/run/bundle.crt".into(), format: BundleFormat::Pem },
        socket_path: "/tmp/spire-agent/public/api.sock".into(),
        alternate_names: vec![
            "socket".to_owned(),
            "spire-agent.sock".to_owned(),
            "api.sock".to_owned(),
        ],
        admin_socket_path: None,
        node_attestor: NodeAttestor::JoinToken(None),
        key_manager: KeyManager::Memory,
        workload_attestors: vec![WorkloadAttestor::Unix { executable: Executable::Ignored }],
        x509_svid_cache_max_size: 1000,
        sds: Sds {
            default_svid_name: "default".to_owned(),
            default_bundle_name: None,
            default_all_bundles_name: None,
            validation: CertificateValidation::Spiffe,
        },
        sync_interval: Duration::from_secs(5),
        health_checks: None,
        prometheus: None,
        limits: crate::transport::Limits::default(),
        takeover: crate::transport::Takeover::Refuse,
        renew_every: None,
    };
    assert_eq!(config, wanted);
}

const EVERYTHING: &str = r#"
agent {
    data_dir = "/run/spire"
    log_level = "DEBUG"
    log_format = "text"
    server_address = "10.0.0.1"
    server_port = "8082"
    socket_path = "/run/public/api.sock"
    admin_socket_path = "/run/private/admin.sock"
    trust_bundle_path = "/run/bundle.json"
    trust_bundle_format = "spiffe"
    insecure_bootstrap = false
    trust_domain = "example.org"
    join_token = "b45a0d9e-4d8e-4f0f-ae0f-0a7f5e6f6a55"
    x509_svid_cache_max_size = 10
    workload_x509_svid_key_type = "ec-p256"
    sds {
        default_svid_name = "own"
        default_bundle_name = "null"
        default_all_bundles_name = "ROOTCA"
        disable_spiffe_cert_validation = true
    }
    experimental { sync_interval = "1s" }
}
plugins {
    NodeAttestor "join_token" {}
    KeyManager "disk" { plugin_data { directory = "/run/spire/key" } }
    WorkloadAttestor "unix" {
        plugin_data { discover_workload_path = true workload_size_limit = 1000 }
    }
}
telemetry { Prometheus { port = 9988 } }
health_checks { listener_enabled = true bind_port = 9982 }
"#;

/// `EVERYTHING` as the Helm chart writes it: blocks in lists, ports as strings, plugins as single-key objects.
const EVERYTHING_AS_JSON: &str = r#"{
  "agent": {
    "admin_socket_path": "/run/private/admin.sock", "data_dir": "/run/spire",
    "experimental": [{"sync_interval": "1s"}], "insecure_bootstrap": false,
    "join_token": "b45a0d9e-4d8e-4f0f-ae0f-0a7f5e6f6a55", "log_format": "text", "log_level": "debug",
    "sds": [{"default_all_bundles_name": "ROOTCA", "default_bundle_name": "null", "default_svid_name": "own",
             "disable_spiffe_cert_validation": true}],
    "server_address": "10.0.0.1", "server_port": "8082", "socket_path": "/run/public/api.sock",
    "trust_bundle_format": "spiffe", "trust_bundle_path": "/run/bundle.json", "trust_domain": "example.org",
    "workload_x509_svid_key_type": "ec-p256", "x509_svid_cache_max_size": 10
  },
  "health_checks": [{"bind_port": "9982", "listener_enabled": true}],
  "plugins": {
    "KeyManager": [{"disk": {"plugin_data": {"directory": "/run/spire/key"}}}],
    "NodeAttestor": [{"join_token": {}}],
    "WorkloadAttestor": [{"unix": {"plugin_data": {"discover_workload_path": true, "workload_size_limit": 1000}}}]
  },
  "telemetry": [{"Prometheus": [{"port": "9988"}]}]
}"#;

#[test]
fn hcl_and_json_spell_the_same_configuration() {
    let hcl = load(EVERYTHING).unwrap().config;
    let json = load(EVERYTHING_AS_JSON).unwrap().config;
    assert_eq!(hcl, json);
    assert_eq!(hcl.server, ServerAddress { host: "10.0.0.1".to_owned(), port: 8082 });
    let bundle =
        Bootstrap::Bundle { path: "/run/bundle.json".into(), format: BundleFormat::Spiffe };
    assert_eq!(hcl.bootstrap, bundle);
    assert_eq!(hcl.admin_socket_path.as_deref(), Some(Path::new("/run/private/admin.sock")));
    assert_eq!(hcl.x509_svid_cache_max_size, 10);
    assert_eq!(hcl.sds.default_bundle_name.as_deref(), Some("null"));
    assert_eq!(hcl.sds.validation, CertificateValidation::Standard);
    assert_eq!(hcl.sync_interval, Duration::from_secs(1));
    assert_eq!(hcl.key_manager, KeyManager::Disk { directory: "/run/spire/key".into() });
    assert_eq!(hcl.prometheus, Some(Prometheus { bind: "127.0.0.1:9988".parse().unwrap() }));
    assert_eq!(hcl.health_checks.unwrap().bind, "127.0.0.1:9982".parse().unwrap());
    let executable = Executable::PathAndHash { max_bytes: Some(1000) };
    assert_eq!(hcl.workload_attestors, [WorkloadAttestor::Unix { executable }]);
}

#[test]
fn the_socket_has_the_usual_names_beside_its_own_unless_it_is_told_otherwise() {
    let names = |settings: &str| load(&least_with(settings, "")).unwrap().config.alternate_names;
    let usual = ["socket", "spire-agent.sock", "api.sock"];
    for own in usual {
        assert_eq!(names(&format!("socket_path = \"/run/{own}\"")), usual);
    }
    assert!(names("socket_path = \"/run/agent.sock\"").is_empty(), "it is none of the usual ones");
    assert_eq!(names("socket_path = \"/a/b\" socket_alternate_names = [\"x\"]"), ["x"]);
    assert!(names("socket_alternate_names = []").is_empty());
}

#[test]
fn the_join_token_is_not_shown() {
    let config = load(EVERYTHING).unwrap().config;
    assert!(!format!("{config:?}").contains("b45a0d9e"));
    let NodeAttestor::JoinToken(Some(JoinToken::Token(token))) = config.node_attestor else {
        panic!("a token")
    };
    assert_eq!(token.expose(), "b45a0d9e-4d8e-4f0f-ae0f-0a7f5e6f6a55");
}

/// What `LEAST` gives with this data for the workload attestor `k8s`.
fn k8s(data: &str) -> Result<(K8s, Vec<Warning>), String> {
    let attestor = format!("WorkloadAttestor \"k8s\" {{ plugin_data {{ {data} }} }}");
    let text = LEAST.replacen("WorkloadAttestor \"unix\" { plugin_data {} }", &attestor, 1);
    let Loaded { config, warnings } = load(&text).map_err(|error| error.to_string())?;
    match <[_; 1]>::try_from(config.workload_attestors).unwrap() {
        [WorkloadAttestor::K8s(k8s)] => Ok((k8s, warnings)),
        [other] => panic!("{other:?}"),
    }
}

#[test]
fn the_kubelet_is_reached_as_spire_reaches_it() {
    let service_account = |file| format!("/var/run/secrets/kubernetes.io/serviceaccount/{file}");
    let least = K8s {
        kubelet: KubeletAddress::Secure {
            port: 10_250,
            node_name: NodeName::Variable("MY_NODE_NAME".to_owned()),
            verification: Verification::Authorities(service_account("ca.crt").into()),
            authentication: Authentication::Token(service_account("token").into()),
        },
        max_poll_attempts: 60,
        poll_retry_interval: Duration::from_millis(500),
        container_selectors: ContainerSelectors::Given,
        attest_again_every: Duration::from_secs(15),
    };
    assert_eq!(k8s(""), Ok((least.clone(), vec![])));
    let said = k8s(r#"kubelet_secure_port = 10251
        node_name = "node-1"
        kubelet_ca_path = "/ca"
        certificate_path = "/chain"
        private_key_path = "/key"
        max_poll_attempts = 5
        poll_retry_interval = "1s"
        reload_interval = "1m"
        use_new_container_locator = true
        disable_container_selectors = true"#);
    let everything = K8s {
        kubelet: KubeletAddress::Secure {
            port: 10_251,
            node_name: NodeName::Given("node-1".to_owned()),
            verification: Verification::Authorities("/ca".into()),
            authentication: Authentication::Certificate {
                chain: "/chain".into(),
                key: "/key".into(),
            },
        },
        max_poll_attempts: 5,
        poll_retry_interval: Duration::from_secs(1),
        container_selectors: ContainerSelectors::Omitted,
        attest_again_every: Duration::from_secs(15),
    };
    assert_eq!(said, Ok((everything, vec![])));
    let clear = KubeletAddress::ReadOnly { port: 10_255 };
    let clear = K8s { kubelet: clear, ..least };
    let said = k8s("kubelet_read_only_port = 10255");
    assert_eq!(said, Ok((clear, vec![Warning::KubeletUnverified])));
}

#[test]
fn a_kubelet_that_is_not_verified_is_worth_a_warning() {
    let (k8s, warnings) = k8s("skip_kubelet_verification = true").unwrap();
    assert!(matches!(
        k8s.kubelet,
        KubeletAddress::Secure { verification: Verification::Skipped, .. }
    ));
    assert_eq!(warnings, [Warning::KubeletUnverified]);
}

#[test]
fn what_does_not_fit_together_or_is_not_there_is_refused() {
    for (data, wanted) in [
        (
            "kubelet_read_only_port = 1 kubelet_secure_port = 2"
                .replace(" kubelet_s", "\nkubelet_s"),
            "only one of kubelet_read_only_port or kubelet_secure_port can be specified, not both",
        ),
        ("kubelet_secure_port = 70000".to_owned(), "must be a port from 1 to 65535, not 70000"),
        (
            "certificate_path = \"/c\"".to_owned(),
            "private_key_path (beside certificate_path) must be configured",
        ),
        (
            "enable_namespace_labels = true".to_owned(),
            "plugins.WorkloadAttestor.k8s.plugin_data.enable_namespace_labels is a SPIRE setting that \
             finial does not support yet",
        ),
        ("kubelet_port = 1".to_owned(), "unknown key \"kubelet_port\""),
    ] {
        let error = k8s(&data).unwrap_err();
        assert!(error.contains(wanted), "{data}: {error}");
    }
}

#[test]
fn the_nodes_name_is_in_the_environment_unless_the_file_has_it() {
    let text = |data: &str| {
        let attestor = format!("WorkloadAttestor \"k8s\" {{ plugin_data {{ {data} }} }}");
        LEAST.replacen("WorkloadAttestor \"unix\" { plugin_data {} }", &attestor, 1)
    };
    let variable = |name: &str| match name {
        "MY_NODE_NAME" => Some("mine".to_owned()),
        "OTHER" => Some("other".to_owned()),
        _ => Some(String::new()),
    };
    for (data, wanted) in [
        ("", NodeName::Given("mine".to_owned())),
        ("node_name_env = \"OTHER\"", NodeName::Given("other".to_owned())),
        ("node_name = \"given\"", NodeName::Given("given".to_owned())),
        ("node_name_env = \"EMPTY\"", NodeName::Variable("EMPTY".to_owned())),
    ] {
        let config = load(&text(data)).unwrap().config.knowing_its_node(variable);
        let [
            WorkloadAttestor::K8s(K8s {
                kubelet: KubeletAddress::Secure { node_name, .. }, ..
            }),
        ] = &config.workload_attestors[..]
        else {
            panic!("{config:?}")
        };
        assert_eq!(*node_name, wanted, "{data}");
    }
}

#[test]
fn a_nodes_token_is_where_kubernetes_puts_it_unless_the_file_says_where() {
    let attestor = |data: &str, settings: &str| {
        let plugin = format!("NodeAttestor \"k8s_psat\" {{ plugin_data {{ {data} }} }}");
        let text = LEAST.replacen("NodeAttestor \"join_token\" { plugin_data {} }", &plugin, 1);
        let text = text.replacen("agent {", &format!("agent {{ {settings} "), 1);
        load(&text).map(|loaded| loaded.config.node_attestor).map_err(|error| error.to_string())
    };
    let psat = |token_path: &str| {
        Ok(NodeAttestor::K8sPsat { cluster: "c".to_owned(), token_path: token_path.into() })
    };
    assert_eq!(attestor("cluster = \"c\"", ""), psat("/var/run/secrets/tokens/spire-agent"));
    assert_eq!(attestor("cluster = \"c\" token_path = \"/t\"", ""), psat("/t"));
    let missing = "cluster of NodeAttestor \"k8s_psat\" must be configured";
    assert_eq!(attestor("", ""), Err(missing.to_owned()));
    let token = JoinToken::Token(Secret::new("t".to_owned()));
    let with_token = attestor("cluster = \"c\"", "join_token = \"t\"");
    assert_eq!(with_token, Ok(NodeAttestor::JoinToken(Some(token))), "SPIRE's order");
}

#[test]
fn a_single_problem_reads_as_spire_prints_it() {
    for (from, to, wanted) in [
        ("server_address = \"spire-server\"", "", "server_address must be configured"),
        ("server_port = 8081", "", "server_port must be configured"),
        ("trust_domain = \"example.org\"", "", "trust_domain must be configured"),
        (
            "trust_bundle_path = \"/run/bundle.crt\"",
            "",
            "trust_bundle_path, trust_bundle_url, or trust_bundle_spiffe_workload_api must be configured unless \
             insecure_bootstrap is set",
        ),
        (
            "server_port = 8081",
            "server_port = 8081 insecure_bootstrap = true",
            "only one of insecure_bootstrap or trust_bundle_path can be specified, not both",
        ),
        (
            "server_port = 8081",
            "server_port = 8081 join_token = \"a\" join_token_file = \"b\"",
            "only one of join_token or join_token_file can be specified, not both",
        ),
        (
            "server_port = 8081",
            "server_port = 8081 admin_socket_path = \"/tmp/spire-agent/public/x/admin.sock\"",
            "admin socket cannot be in the same directory or a subdirectory as that containing the Workload API socket",
        ),
        (
            "WorkloadAttestor \"unix\" { plugin_data {} }",
            "",
            "plugin type \"WorkloadAttestor\" constraint not satisfied: expected at least 1 but got 0",
        ),
        (
            "NodeAttestor \"join_token\" { plugin_data {} }",
            "",
            "plugin type \"NodeAttestor\" constraint not satisfied: expected exactly 1 but got 0",
        ),
    ] {
        assert_eq!(error(&LEAST.replacen(from, to, 1)), wanted);
    }
}

#[test]
fn a_single_problem_of_ours_says_where_it_is() {
    for (settings, wanted) in [
        (
            "availability_target = \"24h\"",
            "agent.availability_target is a SPIRE setting that finial does not support yet",
        ),
        (
            "rebootstrap_mode = \"sometimes\"",
            "could not parse rebootstrap_mode \"sometimes\": expected one of never, auto, always",
        ),
        (
            "socket_alternate_names = [\"socket\", \"../x\"]",
            "\"../x\" is no name of a file; the names stand for the socket in its own directory",
        ),
        (
            "experimental { broker { socket_path = \"x\" } }",
            "agent.experimental.broker is a SPIRE setting that finial does not support yet",
        ),
        (
            "workload_x509_svid_key_type = \"rsa-2048\"",
            "could not parse workload_x509_svid_key_type \"rsa-2048\": finial does not support it yet, only ec-p256",
        ),
        (
            "workload_x509_svid_key_type = \"dsa\"",
            "could not parse workload_x509_svid_key_type \"dsa\": expected one of ec-p256",
        ),
        (
            "trust_bundle_format = \"der\"",
            "could not parse trust_bundle_format \"der\": expected one of pem, spiffe",
        ),
        (
            "x509_svid_cache_max_size = -1",
            "agent.x509_svid_cache_max_size must be 0 or more, not -1",
        ),
        (
            "experimental { sync_interval = \"1ms\" }",
            "could not parse sync_interval \"1ms\": expected at least 10ms",
        ),
        (
            "sds { default_svid = \"x\" }",
            "unknown key \"default_svid\" in agent.sds; did you mean \"default_svid_name\"?",
        ),
    ] {
        let error = error(&least_with(settings, ""));
        let (place, text) = error.split_once(": ").unwrap();
        assert!(place.starts_with("agent.conf:2:"), "{error}");
        assert_eq!(text, wanted);
    }
}

#[test]
fn a_setting_that_is_not_supported_may_say_what_holds_without_it() {
    let plain = load(LEAST).unwrap().config;
    for settings in [
        "experimental { use_sync_authorized_entries = true feature_flags = [] }",
        "authorized_delegates = [] allowed_foreign_jwt_claims = [] log_selectors = []",
        "allow_unauthenticated_verifiers = false disable_workload_api = false",
        "rebootstrap_mode = \"never\" rebootstrap_delay = \"10m\"",
        "rebootstrap_mode = \"always\" rebootstrap_delay = \"10m\"",
        "jwt_svid_cache_max_size = 1000 availability_target = \"\"",
        "profiling_enabled = false profiling_port = 6060",
    ] {
        let loaded = load(&least_with(settings, "")).unwrap_or_else(|e| panic!("{settings}: {e}"));
        assert_eq!(loaded.config, plain, "{settings}");
    }
    for (settings, refused) in [
        (
            "experimental { use_sync_authorized_entries = false }",
            "experimental.use_sync_authorized_entries",
        ),
        ("allow_unauthenticated_verifiers = true", "allow_unauthenticated_verifiers"),
    ] {
        let error = error(&least_with(settings, ""));
        let wanted = format!("agent.{refused} is a SPIRE setting that finial does not support yet");
        assert!(error.ends_with(&wanted) && !error.contains("problems"), "{error}");
    }
}

#[test]
fn a_bundle_from_elsewhere_is_refused_once() {
    let settings = "trust_bundle_url = \"https://example.org/bundle\"";
    let text = least_with(settings, "").replace("trust_bundle_path = \"/run/bundle.crt\"", "");
    assert_eq!(
        error(&text),
        "agent.conf:2:9: agent.trust_bundle_url is a SPIRE setting that finial does not support yet"
    );
}

#[test]
fn every_problem_is_listed_in_the_order_of_the_file() {
    let text =
        "agent {\n  server_port = 0\n  socket = \"x\"\n  log_level = \"loud\"\n}\nplugins {}\n";
    assert_eq!(
        error(text),
        "9 problems\n  \
         agent.conf:2:17: agent.server_port must be a port from 1 to 65535, not 0\n  \
         agent.conf:3:3: unknown key \"socket\" in agent\n  \
         agent.conf:4:15: could not parse log_level \"loud\": expected one of debug, info, warn, error, trace, \
         warning, fatal, panic\n  \
         agent.conf: server_address must be configured\n  \
         agent.conf: trust_domain must be configured\n  \
         agent.conf: trust_bundle_path, trust_bundle_url, or trust_bundle_spiffe_workload_api must be configured \
         unless insecure_bootstrap is set\n  \
         agent.conf: plugin type \"NodeAttestor\" constraint not satisfied: expected exactly 1 but got 0\n  \
         agent.conf: plugin type \"KeyManager\" constraint not satisfied: expected exactly 1 but got 0\n  \
         agent.conf: plugin type \"WorkloadAttestor\" constraint not satisfied: expected at least 1 but got 0"
    );
}

#[test]
fn the_size_limit_of_unix_is_one_number_with_three_meanings() {
    for (limit, wanted) in [
        (0, Executable::PathAndHash { max_bytes: None }),
        (7, Executable::PathAndHash { max_bytes: Some(7) }),
        (-1, Executable::Path),
    ] {
        let data = format!(
            "plugin_data {{ discover_workload_path = true workload_size_limit = {limit} }}"
        );
        let text = LEAST.replace(
            "WorkloadAttestor \"unix\" { plugin_data {} }",
            &format!("WorkloadAttestor \"unix\" {{ {data} }}"),
        );
        let config = load(&text).unwrap().config;
        assert_eq!(config.workload_attestors, [WorkloadAttestor::Unix { executable: wanted }]);
    }
}

#[test]
fn insecure_bootstrap_and_equal_bundle_names_are_warned_about() {
    let text = least_with("insecure_bootstrap = true sds { default_bundle_name = \"ALL\" }", "")
        .replace("trust_bundle_path = \"/run/bundle.crt\"", "");
    let Loaded { config, warnings } = load(&text).unwrap();
    assert_eq!(config.bootstrap, Bootstrap::Insecure);
    assert_eq!(warnings, [Warning::InsecureBootstrap, Warning::SameBundleNames]);
}

#[test]
fn flags_go_over_the_file() {
    let text = |text: &str| Some(text.to_owned());
    let overrides = Overrides {
        data_dir: text("/d"),
        join_token: None,
        join_token_file: text("/token"),
        log: LogFlags { level: text("error"), format: None, file: None },
        server_address: text("other"),
        server_port: text("1"),
        socket_path: text("/s/api.sock"),
        trust_domain: text("other.org"),
        trust_bundle: text("/b"),
        trust_bundle_format: text("spiffe"),
        insecure_bootstrap: Some(false),
    };
    let config = load_with(LEAST, &overrides).unwrap().config;
    assert_eq!(config.data_dir, Path::new("/d"));
    assert_eq!(config.log.level, Level::Error);
    assert_eq!(config.server, ServerAddress { host: "other".to_owned(), port: 1 });
    assert_eq!(config.socket_path, Path::new("/s/api.sock"));
    assert_eq!(config.trust_domain, TrustDomain::parse("other.org").unwrap());
    let bundle = Bootstrap::Bundle { path: "/b".into(), format: BundleFormat::Spiffe };
    assert_eq!(config.bootstrap, bundle);
    let token = JoinToken::File("/token".into());
    assert_eq!(config.node_attestor, NodeAttestor::JoinToken(Some(token)));
}

#[test]
fn connection_limits_are_finials_own_and_have_a_range() {
    let text = |limits: &str| {
        format!(
            r#"agent {{ trust_domain = "example.org" data_dir = "d" server_address = "a"
               server_port = 1 insecure_bootstrap = true limits {{ {limits} }} }}
               plugins {{ NodeAttestor "join_token" {{}} KeyManager "memory" {{}}
               WorkloadAttestor "unix" {{}} }}"#
        )
    };
    let read = |limits: &str| {
        let source =
            Source::new(Path::new("agent.conf"), text(limits).into_bytes(), Environment::Literal)
                .unwrap();
        read(&source, &Overrides::default())
    };
    let limits = read("connections = 9000 connections_per_process = 8000").unwrap().config.limits;
    assert_eq!((limits.connections, limits.per_process), (9_000, 8_000));
    assert!(read("connections = 0").unwrap_err().to_string().contains("1 to 65536"));
}
