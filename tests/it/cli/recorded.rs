//! Every command that is built prints what a real SPIRE was recorded to print.

use super::{
    fake_agent::{self, Caller},
    programs::Programs,
    real_server::{self, attest_recorded_agent, configuration},
    transcript::{self, Outcome, Step},
};
use finial::runtime::TaskSet;
use std::{fmt::Write as _, fs, os::unix::fs::PermissionsExt as _};

/// Plays a session and shows every difference at once.
async fn plays(programs: &Programs, session: &str) {
    plays_steps(programs, "", transcript::read(session)).await;
}

/// Plays these steps with the programs in `folder` of our directory.
pub(crate) async fn plays_steps(programs: &Programs, folder: &str, steps: Vec<Step>) {
    let mut differences = String::new();
    for step in steps {
        let words = transcript::words(&step.command);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let program = format!("{folder}{}", words[0]);
        let mut outcome = programs.run(&program, &words[1..], step.stdin.as_bytes()).await;
        outcome.stderr = without_help(&outcome.stderr);
        if let Some(difference) = outcome.difference(&step.outcome) {
            writeln!(differences, "$ {}\n{difference}", step.command).unwrap();
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

/// Usage texts are compared by their flags; `-timeout` is ours.
fn without_help(text: &str) -> String {
    text.split_inclusive('\n')
        .filter(|line| !line.starts_with("    \t") && *line != "  -timeout value\n")
        .collect()
}

#[tokio::test]
async fn usage_names_the_recorded_commands_and_flags() {
    plays(&Programs::new(), include_str!("../../fixtures/spire/help.txt")).await;
}

#[tokio::test]
async fn without_a_server_or_an_agent_every_command_says_so() {
    plays(&Programs::new(), include_str!("../../fixtures/spire/no_server.txt")).await;
}

#[tokio::test]
async fn configuration_files_are_judged_as_recorded() {
    let programs = Programs::new();
    let good = configuration("data_dir = \"state\"");
    programs.write("server.conf", &good);
    programs.write("bad1.conf", &configuration(""));
    programs.write("bad2.conf", "server { data_dir = \"\"");
    programs.write("bad3.conf", &good.replace("example.org", "EXAMPLE org"));
    programs.write(
        "agent.conf",
        "agent {\n trust_domain = \"example.org\"\n server_address = \"127.0.0.1\"\n \
         server_port = 8081\n trust_bundle_path = \"bundle.pem\"\n}\n\
         plugins {\n KeyManager \"memory\" { plugin_data {} }\n \
         NodeAttestor \"join_token\" { plugin_data {} }\n \
         WorkloadAttestor \"unix\" { plugin_data {} }\n}\n",
    );
    plays(&programs, include_str!("../../fixtures/spire/config.txt")).await;
}

#[tokio::test]
async fn a_server_without_anything_is_shown_as_recorded() {
    let programs = Programs::new();
    let server = real_server::start(&programs).await;
    plays(&programs, include_str!("../../fixtures/spire/empty.txt")).await;
    server.shutdown().await;
}

#[tokio::test]
async fn entries_are_created_shown_updated_and_deleted_as_recorded() {
    let programs = Programs::new();
    let server = real_server::start(&programs).await;
    plays(&programs, include_str!("../../fixtures/spire/entries.txt")).await;
    server.shutdown().await;
}

#[tokio::test]
async fn join_tokens_are_generated_as_recorded() {
    let programs = Programs::new();
    let server = real_server::start(&programs).await;
    plays(&programs, include_str!("../../fixtures/spire/tokens.txt")).await;
    server.shutdown().await;
}

#[tokio::test]
async fn an_attested_agent_is_shown_banned_and_evicted_as_recorded() {
    let programs = Programs::new();
    let server = real_server::start(&programs).await;
    attest_recorded_agent(&server).await;
    plays(&programs, include_str!("../../fixtures/spire/attested.txt")).await;
    server.shutdown().await;
}

#[tokio::test]
async fn an_agent_gives_its_caller_svids_as_recorded() {
    let (programs, tasks) = (Programs::new(), TaskSet::new());
    fake_agent::serve(&programs.agent_socket(), &tasks, Caller::Entitled);
    fake_agent::serve(&programs.path().join("admin.sock"), &tasks, Caller::Entitled);
    plays(&programs, include_str!("../../fixtures/spire/agent.txt")).await;
    let mode = |name| {
        fs::metadata(programs.path().join("w2").join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(
        (mode("svid.0.pem"), mode("svid.0.key"), mode("bundle.0.pem")),
        (0o644, 0o600, 0o644),
        "modes as recorded"
    );
}

#[tokio::test]
async fn an_agent_refuses_a_stranger_as_recorded() {
    let (programs, tasks) = (Programs::new(), TaskSet::new());
    fake_agent::serve(&programs.agent_socket(), &tasks, Caller::Unknown);
    plays(&programs, include_str!("../../fixtures/spire/refused.txt")).await;
}

#[tokio::test]
async fn the_binary_names_its_programs_and_its_version() {
    let programs = Programs::new();
    let version = programs.run("finial", &["--version"], b"").await;
    let expected = concat!("finial ", env!("CARGO_PKG_VERSION"), "\n").to_owned();
    assert_eq!(version, Outcome { stdout: expected, ..Outcome::default() });
    let version = programs.run("spire-server", &["-version"], b"").await;
    let expected = concat!(env!("CARGO_PKG_VERSION"), "\n").to_owned();
    assert_eq!(version, Outcome { stderr: expected, ..Outcome::default() }, "as SPIRE");
    let help = programs.run("finial", &["help"], b"").await;
    assert_eq!((help.exit, help.stdout.as_str()), (0, ""));
    assert!(help.stderr.contains("    agent "), "{}", help.stderr);
    let same = programs.run("finial", &["server", "entry", "show"], b"").await;
    assert_eq!(same, programs.run("spire-server", &["entry", "show"], b"").await);
    assert_eq!(programs.run("finial", &["sever"], b"").await.exit, 127);
}
