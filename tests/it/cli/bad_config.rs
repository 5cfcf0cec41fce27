//! Configuration files that no program should start with (reliability-security.md §4 B-CONF): `validate`
//! and `run` say every problem with its place and touch nothing.

use super::programs::Programs;

/// A server's file with `settings` in its block and `blocks` behind it, each from a line of its own on.
fn server(settings: &str, blocks: &str) -> String {
    format!(
        "server {{\n  data_dir = \"state\"\n  {settings}\n}}\nplugins {{\n  DataStore \"sql\" {{ plugin_data {{ \
         database_type = \"sqlite3\" connection_string = \"state/s.sqlite3\" }} }}\n  KeyManager \"memory\" {{}}\n}}\n\
         {blocks}\n"
    )
}

/// An agent's, likewise.
fn agent(settings: &str, blocks: &str) -> String {
    format!(
        "agent {{\n  data_dir = \"state\"\n  {settings}\n  server_address = \"127.0.0.1\"\n  server_port = 8081\n}}\n\
         plugins {{\n  NodeAttestor \"join_token\" {{}}\n  KeyManager \"memory\" {{}}\n  \
         WorkloadAttestor \"unix\" {{}}\n}}\n{blocks}\n"
    )
}

const TRUST_DOMAIN: &str = "trust_domain = \"example.org\"";

/// `validate` and `run` refuse the file in the same words.
async fn refuses(program: &str, text: &[u8], expected: &str) {
    let programs = Programs::new();
    std::fs::write(programs.path().join("x.conf"), text).unwrap();
    let kind = program.trim_start_matches("spire-");
    for (command, prefix) in [
        ("validate", format!("SPIRE {kind} configuration file is invalid: ")),
        ("run", String::new()),
    ] {
        let outcome =
            programs.run(program, &[command, "-config", "x.conf", "-expandEnv"], b"").await;
        assert_eq!((outcome.exit, outcome.stdout.as_str()), (1, ""), "{}", outcome.stderr);
        assert_eq!(outcome.stderr, format!("{prefix}{expected}\n"));
    }
    assert!(!programs.path().join("state").exists(), "nothing was made before the file was judged");
}

#[tokio::test]
async fn a_file_that_is_no_configuration_is_refused() {
    for (text, expected) in [
        (
            vec![b'\n'; 50 << 20],
            r#"unable to read configuration at "x.conf": it is larger than 1048576 bytes"#,
        ),
        (
            b"server {\n  trust_domain = \"a\0b\"\n}".to_vec(),
            r#"unable to decode configuration at "x.conf": At 2:20: unexpected null character (0x00)"#,
        ),
        (
            b"server {\r\n  data_dir = \"\xff\"\r\n".to_vec(),
            r#"unable to decode configuration at "x.conf": At 2:15: illegal UTF-8 encoding"#,
        ),
        (
            b"{\"server\": {}} trailing".to_vec(),
            r#"unable to decode configuration at "x.conf": At 1:16: invalid JSON: expected the end of the file, found 't'"#,
        ),
    ] {
        refuses("spire-server", &text, expected).await;
    }
    let programs = Programs::new();
    let outcome = programs.run("spire-agent", &["validate", "-config", "pub"], b"").await;
    let is_a_directory = "SPIRE agent configuration file is invalid: unable to read configuration at \
                          \"pub\": Is a directory (os error 21)\n";
    assert_eq!((outcome.exit, outcome.stderr.as_str()), (1, is_a_directory));
}

#[tokio::test]
async fn what_editors_leave_in_a_file_is_no_problem() {
    let programs = Programs::new();
    let text = server(TRUST_DOMAIN, "").replace('\n', "\r\n");
    programs.write("x.conf", &format!("\u{feff}{text}"));
    let outcome = programs.run("spire-server", &["validate", "-config", "x.conf"], b"").await;
    assert_eq!((outcome.exit, outcome.stderr.as_str()), (0, ""));
}

#[tokio::test]
async fn every_unknown_key_is_named_with_its_place_wherever_it_stands() {
    let unknown = "unknown_option1 = \"a\"\n    unknown_option2 = \"b\"";
    for (path, first_line, text) in [
        ("", 9, server(TRUST_DOMAIN, unknown)),
        (" in server", 4, server(&format!("{TRUST_DOMAIN}\n{unknown}"), "")),
        (
            " in server.ratelimit",
            4,
            server(&format!("{TRUST_DOMAIN} ratelimit {{\n{unknown}\n}}"), ""),
        ),
        (
            " in server.ca_subject",
            4,
            server(&format!("{TRUST_DOMAIN} ca_subject {{\n{unknown}\n}}"), ""),
        ),
        (
            " in server.experimental",
            4,
            server(&format!("{TRUST_DOMAIN} experimental {{\n{unknown}\n}}"), ""),
        ),
        (" in telemetry", 10, server(TRUST_DOMAIN, &format!("telemetry {{\n{unknown}\n}}"))),
        (
            " in health_checks",
            10,
            server(TRUST_DOMAIN, &format!("health_checks {{\n{unknown}\n}}")),
        ),
    ] {
        let (column, second_line) = (1, first_line + 1);
        let expected = format!(
            "2 problems\n  x.conf:{first_line}:{column}: unknown key \"unknown_option1\"{path}\n  \
             x.conf:{second_line}:5: unknown key \"unknown_option2\"{path}"
        );
        refuses("spire-server", text.as_bytes(), &expected).await;
    }
    let text = agent(&format!("{TRUST_DOMAIN} insecure_bootstrap = true\n{unknown}"), "");
    let expected = "2 problems\n  x.conf:4:1: unknown key \"unknown_option1\" in agent\n  \
                    x.conf:5:5: unknown key \"unknown_option2\" in agent";
    refuses("spire-agent", text.as_bytes(), expected).await;
}

#[tokio::test]
async fn values_that_cannot_be_are_refused_where_they_stand() {
    let domain = "trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores";
    let long = "s".repeat(120);
    for (settings, expected) in [
        ("trust_domain = \"Example.org\"".to_owned(), format!("could not parse trust_domain \"Example.org\": {domain}")),
        (
            "trust_domain = \"spiffe://example.org\"".to_owned(),
            format!("could not parse trust_domain \"spiffe://example.org\": {domain}"),
        ),
        (
            format!("{TRUST_DOMAIN} ca_ttl = \"9999999h\""),
            "x.conf:3:41: could not parse ca_ttl \"9999999h\": expected a duration such as 1h30m, 10s or 500ms".to_owned(),
        ),
        (
            format!("{TRUST_DOMAIN} agent_ttl = \"-5m\""),
            "x.conf:3:44: could not parse agent_ttl \"-5m\": expected at least 1s".to_owned(),
        ),
        (
            format!("{TRUST_DOMAIN} bind_port = {{}}"),
            "x.conf:3:44: server.bind_port must be a whole number, not a block".to_owned(),
        ),
        (
            format!("{TRUST_DOMAIN} ratelimit {{ signing = \"yes\" }}"),
            "x.conf:3:54: server.ratelimit.signing must be true or false, not a string".to_owned(),
        ),
        (
            format!("{TRUST_DOMAIN}\n  {TRUST_DOMAIN}"),
            "x.conf:4:3: \"trust_domain\" is set twice, first at 3:3".to_owned(),
        ),
        (
            format!("{TRUST_DOMAIN} socket_path = \"/{long}\""),
            format!("x.conf:3:46: socket path \"/{long}\" has 121 bytes, and the system allows 107"),
        ),
        (
            "trust_domain = \"$NOWHERE\"".to_owned(),
            "x.conf:3:19: environment variable \"NOWHERE\" is not defined; write $$ for a dollar sign".to_owned(),
        ),
    ] {
        refuses("spire-server", server(&settings, "").as_bytes(), &expected).await;
    }
    for (settings, expected) in [
        (
            "insecure_bootstrap = true trust_bundle_path = \"b\"",
            "only one of insecure_bootstrap or trust_bundle_path can be specified, not both",
        ),
        (
            "",
            "trust_bundle_path, trust_bundle_url, or trust_bundle_spiffe_workload_api must be configured unless insecure_bootstrap is set",
        ),
    ] {
        let text = agent(&format!("{TRUST_DOMAIN} {settings}"), "");
        refuses("spire-agent", text.as_bytes(), expected).await;
    }
}

#[tokio::test]
async fn every_problem_of_a_file_is_said_at_once() {
    let text = server(
        "trust_domain = \"\" bind_port = 65536\n  log_level = \"loud\"",
        "plugins { KeyManager \"vault\" {} }",
    );
    let expected = "5 problems\n  \
        x.conf:3:33: server.bind_port must be a port from 1 to 65535, not 65536\n  \
        x.conf:4:15: could not parse log_level \"loud\": expected one of debug, info, warn, error, trace, warning, fatal, panic\n  \
        x.conf:10:22: unknown KeyManager plugin \"vault\"\n  \
        x.conf: trust_domain must be configured\n  \
        x.conf: plugin type \"KeyManager\" constraint not satisfied: expected exactly 1 but got 2";
    refuses("spire-server", text.as_bytes(), expected).await;
}

#[tokio::test]
async fn a_key_file_that_others_can_read_stops_the_server_and_says_so() {
    use std::os::unix::fs::PermissionsExt as _;
    let programs = Programs::new();
    let text = server(&format!("{TRUST_DOMAIN} socket_path = \"server.sock\""), "").replace(
        "KeyManager \"memory\" {}",
        "KeyManager \"disk\" { plugin_data { keys_path = \"keys.json\" } }",
    );
    programs.write("x.conf", &text);
    programs.write("keys.json", "{\"keys\":{}}");
    let keys = programs.path().join("keys.json");
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o644)).unwrap();
    let outcome = programs.run("spire-server", &["run", "-config", "x.conf"], b"").await;
    assert_eq!(outcome.exit, 1);
    assert!(
        outcome.stdout.contains("keys.json") && outcome.stdout.contains("644"),
        "{}",
        outcome.stdout
    );
}
