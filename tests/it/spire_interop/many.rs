//! More entries than fit into one page of SPIRE's synchronisation, which has 500.

use super::field::{Field, Make, NODE, id, selector};
use crate::peers;
use serde_json::json;
use std::path::Path;

const ENTRIES: usize = 1_200;

#[tokio::test]
async fn a_spire_agent_gets_every_page_of_finials_entries() {
    let Some(spire) = peers::spire() else { return };
    every_page_arrives(&spire, Make::Finial, Make::Spire).await;
}

#[tokio::test]
async fn an_agent_gets_every_page_of_a_spire_servers_entries() {
    let Some(spire) = peers::spire() else { return };
    every_page_arrives(&spire, Make::Spire, Make::Finial).await;
}

/// The agent's own make registers them in one command; the first and the last are for this process.
async fn every_page_arrives(spire: &Path, server: Make, agent: Make) {
    let field = Field::start(spire, server, agent).await;
    let entries = (0..ENTRIES).map(|number| {
        let is_ours = number == 0 || number == ENTRIES - 1;
        let whose = if is_ours { selector() } else { format!("unix:uid:{}", 100_000 + number) };
        json!({
            "selectors": [{ "type": "unix", "value": whose.strip_prefix("unix:") }],
            "spiffe_id": id(&format!("many/{number}")).as_str(),
            "parent_id": NODE,
        })
    });
    let entries = json!({ "entries": entries.collect::<Vec<_>>() });
    field.programs.write("entries.json", &entries.to_string());
    let created = field.say(agent, "spire-server entry create -data DIR/entries.json").await;
    assert_eq!(created.matches("Entry ID").count(), ENTRIES);
    let shown = field.say(agent, "spire-server entry show").await;
    // One more is what gives the agent the name of the node.
    assert!(shown.starts_with(&format!("Found {} entries\n", ENTRIES + 1)));
    field.svid("many/0").await;
    field.svid(&format!("many/{}", ENTRIES - 1)).await;
}
