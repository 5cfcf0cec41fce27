//! The agent of one make with the server of the other: attestation, entries, SVIDs, restarts.

use super::field::{Field, Make, NODE, id, selector};
use crate::peers;
use std::path::Path;

#[tokio::test]
async fn a_spire_agent_serves_what_finial_signs() {
    let Some(spire) = peers::spire() else { return };
    identities_follow_their_entries(&spire, Make::Finial, Make::Spire).await;
}

#[tokio::test]
async fn an_agent_serves_what_a_spire_server_signs() {
    let Some(spire) = peers::spire() else { return };
    identities_follow_their_entries(&spire, Make::Spire, Make::Finial).await;
}

/// An entry that is there before the agent knows of it, another that comes later, a change and an end.
async fn identities_follow_their_entries(spire: &Path, server: Make, agent: Make) {
    let field = Field::start(spire, server, agent).await;
    let listed = field.say(agent, "spire-server agent list").await;
    assert!(listed.starts_with("Found 1 attested agent:\n"), "{listed}");
    assert!(listed.contains("/spire/agent/join_token/"), "{listed}");

    field.register(server, "w").await;
    let first = field.svid("w").await;
    let late = field.register(agent, "late").await;
    field.svid("late").await;
    assert_eq!(field.svid("w").await.chain(), first.chain(), "nothing changed for it");
    let fetched = field.say(agent, "spire-agent api fetch x509").await;
    assert!(fetched.starts_with("Received 2 svids after "), "{fetched}");

    let update = format!(
        "spire-server entry update -entryID {late} -parentID {NODE} -spiffeID {} -selector {} \
         -dns late.example.org",
        id("later"),
        selector(),
    );
    field.say(server, &update).await;
    field.svid("later").await;
    field.say(agent, &format!("spire-server entry delete -entryID {late}")).await;
    let fetch = "spire-agent api fetch x509";
    field.until(agent, fetch, |said| said.starts_with("Received 1 svid after ")).await;
}

#[tokio::test]
async fn a_spire_agent_comes_back_to_finial_by_what_it_has_stored() {
    let Some(spire) = peers::spire() else { return };
    restarts_are_survived(&spire, Make::Finial, Make::Spire).await;
}

#[tokio::test]
async fn an_agent_comes_back_to_a_spire_server_by_what_it_has_stored() {
    let Some(spire) = peers::spire() else { return };
    restarts_are_survived(&spire, Make::Spire, Make::Finial).await;
}

/// Neither needs a new join token after both were killed, and an agent that runs on notices nothing.
async fn restarts_are_survived(spire: &Path, server: Make, agent: Make) {
    let mut field = Field::start(spire, server, agent).await;
    field.register(server, "w").await;
    field.svid("w").await;
    field.kill_server().await;
    field.start_server().await;
    field.register(server, "after/server").await;
    field.svid("after/server").await;
    field.kill_agent().await;
    field.start_agent(&[]).await;
    field.register(server, "after/agent").await;
    field.svid("after/agent").await;
    field.svid("w").await;
}

/// A node changes over, and back, without a token: each takes the other's SVID, key and bundle from the
/// data directory.
#[tokio::test]
async fn either_agent_goes_on_from_what_the_other_has_stored() {
    let Some(spire) = peers::spire() else { return };
    let mut field = Field::start(&spire, Make::Spire, Make::Spire).await;
    field.register(Make::Spire, "w").await;
    field.svid("w").await;
    for make in [Make::Finial, Make::Spire, Make::Finial] {
        field.replace_agent(make).await;
        field.svid("w").await;
    }
    let counted = field.say(Make::Spire, "spire-server agent count").await;
    assert_eq!(counted, "1 attested agent\n");
}

#[tokio::test]
async fn a_spire_agent_understands_that_finial_has_evicted_it() {
    let Some(spire) = peers::spire() else { return };
    let field = Field::start(&spire, Make::Finial, Make::Spire).await;
    evict(&field, Make::Finial).await;
    // Its words when the refusal carries the reason that SPIRE's own server gives.
    field.logged("Agent needs to re-attest").await;
}

#[tokio::test]
async fn an_agent_that_a_spire_server_has_evicted_serves_what_it_has() {
    let Some(spire) = peers::spire() else { return };
    let field = Field::start(&spire, Make::Spire, Make::Finial).await;
    field.register(Make::Spire, "w").await;
    let svid = field.svid("w").await;
    evict(&field, Make::Spire).await;
    field.logged("reason=AgentNotAttested").await;
    assert_eq!(field.svid("w").await.chain(), svid.chain());
}

async fn evict(field: &Field, make: Make) {
    let listed = field.say(make, "spire-server agent list -output json").await;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let path = listed["agents"][0]["id"]["path"].as_str().unwrap();
    let command = format!("spire-server agent evict -spiffeID spiffe://example.org{path}");
    assert_eq!(field.say(make, &command).await, "Agent evicted successfully\n");
}
