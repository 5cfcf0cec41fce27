//! What is renewed and replaced between the agent of one make and the server of the other.

use super::field::{Field, Make, PATIENCE, POLL};
use crate::peers;
use finial::{
    runtime::Clock,
    testing::{ca::TestCa, secret::Authorities},
    x509::pem,
};
use std::path::Path;
use tokio::time::{Instant, sleep};

#[tokio::test]
async fn a_spire_agent_renews_itself_and_its_workloads_at_finial() {
    let Some(spire) = peers::spire() else { return };
    short_lives_are_renewed(&spire, Make::Finial, Make::Spire).await;
}

#[tokio::test]
async fn an_agent_renews_itself_and_its_workloads_at_a_spire_server() {
    let Some(spire) = peers::spire() else { return };
    short_lives_are_renewed(&spire, Make::Spire, Make::Finial).await;
}

/// SVIDs that live for half a minute, the agent's own and a workload's.
async fn short_lives_are_renewed(spire: &Path, server: Make, agent: Make) {
    let lives = "agent_ttl = \"30s\"\n default_x509_svid_ttl = \"30s\"";
    let field = Field::start_with(spire, server, agent, lives).await;
    let list = "spire-server agent list -output json";
    let first_agent = serial(&field.say(server, list).await);
    field.register(server, "w").await;
    let first = field.svid("w").await;
    let second = field.successor("w", &first).await;
    field.successor("w", &second).await;
    field.until(server, list, |said| serial(said) != first_agent).await;
    let health = field.say(agent, "spire-agent healthcheck").await;
    assert_eq!(health, "Agent is healthy.\n");
}

/// The serial number of the one agent that is listed.
fn serial(listed: &str) -> String {
    let listed: serde_json::Value = serde_json::from_str(listed).unwrap();
    listed["agents"][0]["x509svid_serial_number"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_spire_agent_follows_the_authorities_of_finial() {
    let Some(spire) = peers::spire() else { return };
    authorities_are_followed(&spire, Make::Finial, Make::Spire).await;
}

#[tokio::test]
async fn an_agent_follows_the_authorities_of_a_spire_server() {
    let Some(spire) = peers::spire() else { return };
    authorities_are_followed(&spire, Make::Spire, Make::Finial).await;
}

/// An authority that lives for a minute: whatever SVID is served until another one signs, what is served
/// beside it verifies it.
async fn authorities_are_followed(spire: &Path, server: Make, agent: Make) {
    let lives = "ca_ttl = \"1m\"\n agent_ttl = \"20s\"\n default_x509_svid_ttl = \"20s\"";
    let field = Field::start_with(spire, server, agent, lives).await;
    field.register(server, "w").await;
    let first = field.authorities().await;
    let deadline = Instant::now() + PATIENCE * 2;
    loop {
        let svid = field.svid("w").await;
        let first = first.bundle_for(svid.id()).unwrap();
        if svid.verify(&first, Clock::system().now()).is_err() {
            return;
        }
        assert!(Instant::now() < deadline, "the first authority signs for ever");
        sleep(POLL).await;
    }
}

#[tokio::test]
async fn an_agent_replaces_what_a_spire_servers_tainted_authority_signed() {
    let Some(spire) = peers::spire() else { return };
    let field = Field::start(&spire, Make::Spire, Make::Finial).await;
    let authority = async |command: &str| {
        let command = format!("spire-server localauthority x509 {command}");
        let said = field.say(Make::Spire, &command).await;
        said.split("Authority ID: ").nth(1).unwrap().lines().next().unwrap().to_owned()
    };
    let old = authority("show").await;
    field.register(Make::Finial, "w").await;
    let first = field.svid("w").await;
    let new = authority("prepare").await;
    authority(&format!("activate -authorityID {new}")).await;
    authority(&format!("taint -authorityID {old}")).await;
    field.successor("w", &first).await;
    authority(&format!("revoke -authorityID {old}")).await;
    // By what the server still shows, which is the new one alone.
    field.svid("w").await;
}

#[tokio::test]
async fn an_agent_serves_the_federated_bundles_of_a_spire_server() {
    let Some(spire) = peers::spire() else { return };
    let field = Field::start(&spire, Make::Spire, Make::Finial).await;
    let other = TestCa::new("other.org", Clock::system().now());
    let authority = other.authority().certificate().clone();
    let text = pem::certificates(std::slice::from_ref(&authority));
    field.programs.write("other.pem", std::str::from_utf8(&text).unwrap());
    let set = "spire-server bundle set -id spiffe://other.org -path DIR/other.pem";
    assert_eq!(field.say(Make::Spire, set).await, "bundle set.\n");
    field.register_with(Make::Finial, "w", "-federatesWith other.org").await;
    field.svid("w").await;
    let member = finial::spiffe::SpiffeId::parse("spiffe://other.org/peer").unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_stream, roots) = field.secret("ROOTCA").await;
        let authorities = Authorities::of(roots.secret("ROOTCA").unwrap()).unwrap();
        if let Ok(bundle) = authorities.bundle_for(&member) {
            assert_eq!(bundle.x509_authorities()[0].certificate, authority);
            break;
        }
        assert!(Instant::now() < deadline, "no bundle of other.org: {authorities:?}");
        sleep(POLL).await;
    }
}
