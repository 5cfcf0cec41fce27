//! The commands of one make against the sockets of the other.

use super::field::{Field, Make, id};
use crate::{
    cli::{
        programs::Programs,
        real_server::{self, attest_recorded_agent},
        recorded::plays_steps,
        transcript::{self, Step},
    },
    peers,
};

const EMPTY: &str = include_str!("../../fixtures/spire/empty.txt");
const ENTRIES: &str = include_str!("../../fixtures/spire/entries.txt");
const TOKENS: &str = include_str!("../../fixtures/spire/tokens.txt");
const ATTESTED: &str = include_str!("../../fixtures/spire/attested.txt");

/// The steps as a real SPIRE's commands play them: with JSON they exit 0 when items of a batch failed.
fn by_spire(session: &str) -> Vec<Step> {
    let mut steps = transcript::read(session);
    for step in &mut steps {
        if step.outcome.stdout.starts_with(r#"{"results":"#) {
            step.outcome.exit = 0;
        }
    }
    steps
}

#[tokio::test]
async fn spires_commands_manage_a_server_of_finial() {
    let Some(spire) = peers::spire() else { return };
    for session in [EMPTY, TOKENS, ENTRIES] {
        let programs = Programs::with_spire(&spire);
        let server = real_server::start(&programs).await;
        plays_steps(&programs, "spire/", by_spire(session)).await;
        server.shutdown().await;
    }
    let programs = Programs::with_spire(&spire);
    let server = real_server::start(&programs).await;
    attest_recorded_agent(&server).await;
    plays_steps(&programs, "spire/", by_spire(ATTESTED)).await;
    server.shutdown().await;
}

#[tokio::test]
async fn finials_commands_manage_a_spire_server() {
    let Some(spire) = peers::spire() else { return };
    for session in [EMPTY, TOKENS, ENTRIES] {
        let field = Field::server(&spire, Make::Spire).await;
        let mut steps = transcript::read(session);
        // Its bundle has JWT keys too, which the record does not show.
        steps.retain(|step| !is_whole_bundle(&step.command));
        plays_steps(&field.programs, "", steps).await;
    }
}

fn is_whole_bundle(command: &str) -> bool {
    command.contains("bundle show -format spiffe") || command.contains("bundle show -output json")
}

#[tokio::test]
async fn both_makes_commands_print_the_same_of_either_server() {
    let Some(spire) = peers::spire() else { return };
    for server in [Make::Spire, Make::Finial] {
        let field = Field::start(&spire, server, server).await;
        field.register(Make::Spire, "w").await;
        field.register(Make::Finial, "v").await;
        for command in [
            "bundle show",
            "bundle show -format spiffe",
            "bundle show -output json",
            "bundle count",
            "entry show",
            "entry show -output json",
            "entry show -spiffeID spiffe://example.org/w",
            "entry count",
            "agent list",
            "agent list -output json",
            "agent count",
            "healthcheck",
            "healthcheck -verbose",
        ] {
            let command = format!("spire-server {command}");
            let (finial, spire) =
                (field.say(Make::Finial, &command).await, field.say(Make::Spire, &command).await);
            assert_eq!(finial, spire, "{command} of a {server:?} server");
        }
    }
}

#[tokio::test]
async fn both_makes_commands_manage_the_agents_of_either_server() {
    let Some(spire) = peers::spire() else { return };
    for (server, commands) in [(Make::Spire, Make::Finial), (Make::Finial, Make::Spire)] {
        let field = Field::start(&spire, server, server).await;
        let listed = field.say(commands, "spire-server agent list").await;
        let agent = listed.split("SPIFFE ID         : ").nth(1).unwrap().lines().next().unwrap();
        let shown =
            field.say(commands, &format!("spire-server agent show -spiffeID {agent}")).await;
        assert!(shown.starts_with("Found an attested agent given its SPIFFE ID\n"), "{shown}");
        for (command, said) in [
            (format!("agent ban -spiffeID {agent}"), "Agent banned successfully\n"),
            (format!("agent evict -spiffeID {agent}"), "Agent evicted successfully\n"),
            ("agent count".to_owned(), "0 attested agents\n"),
        ] {
            assert_eq!(field.say(commands, &format!("spire-server {command}")).await, said);
        }
    }
}

#[tokio::test]
async fn both_makes_commands_fetch_from_either_agent() {
    let Some(spire) = peers::spire() else { return };
    for (agent, commands) in [(Make::Spire, Make::Finial), (Make::Finial, Make::Spire)] {
        let field = Field::start(&spire, agent, agent).await;
        field.register(commands, "w").await;
        let svid = field.svid("w").await;
        let said = field.say(commands, "spire-agent api fetch x509 -write DIR/w2").await;
        assert!(said.contains(&format!("SPIFFE ID:\t\t{}\n", id("w"))), "{said}");
        let written = std::fs::read(field.programs.path().join("w2/svid.0.pem")).unwrap();
        let written = finial::x509::pem::read_certificates(&written).unwrap();
        assert_eq!(written, svid.chain(), "the same SVID by both APIs");
        assert_eq!(field.say(commands, "spire-agent healthcheck").await, "Agent is healthy.\n");
    }
}
