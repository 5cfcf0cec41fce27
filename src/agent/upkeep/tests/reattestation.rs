use super::*;
use std::fs;

fn payloads(node: &Node) -> Vec<(Duration, String)> {
    let log = node.server.log().into_iter();
    log.filter_map(|(at, asked)| match asked {
        Asked::Attest(payload) => Some((at, payload)),
        _ => None,
    })
    .collect()
}

fn is_attest(asked: &Asked) -> bool {
    matches!(asked, Asked::Attest(_))
}

/// A node whose agent attests by service account token, as often as it likes.
fn node_of_a_cluster() -> Node {
    let mut node = Node::new();
    let token_path = node.path("token");
    fs::write(&token_path, "first").unwrap();
    node.config.node_attestor =
        NodeAttestorConfig::K8sPsat { cluster: "demo".to_owned(), token_path };
    node.server.set(|server| server.is_reattestable = true);
    node
}

#[tokio::test(start_paused = true)]
async fn around_half_of_its_life_an_agent_attests_again_with_the_token_of_that_moment() {
    let node = node_of_a_cluster();
    let agent = node.start().await;
    agent.attested().await;
    fs::write(node.path("token"), "second").unwrap();
    node.server.asked(2, is_attest).await;
    let [(_, first), (at, second)] = payloads(&node).try_into().unwrap();
    assert_eq!(first, r#"{"cluster":"demo","token":"first"}"#);
    assert_eq!(second, r#"{"cluster":"demo","token":"second"}"#);
    assert!((1_600..2_000).contains(&at.as_secs()), "{at:?}");
    assert_eq!(node.server.count(|asked| *asked == Asked::Renew), 0);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_without_its_token_waits_for_it() {
    let node = node_of_a_cluster();
    fs::remove_file(node.path("token")).unwrap();
    let agent = node.start().await;
    pass(600).await;
    assert_eq!(payloads(&node), []);
    fs::write(node.path("token"), "late").unwrap();
    agent.attested().await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_cannot_be_stored_keeps_back_only_a_proof_that_is_good_once() {
    for (mut node, attests) in [(node_of_a_cluster(), true), (Node::new(), false)] {
        node.config.key_manager = KeyManager::Disk { directory: node.path("data") };
        node.server.set(|server| server.is_reachable = false);
        let agent = node.start().await;
        fs::create_dir_all(node.path("data/keys.json/in the way")).unwrap();
        node.server.set(|server| server.is_reachable = true);
        pass(600).await;
        assert_eq!(agent.insight.identity.standing().current().svid().is_some(), attests);
        assert_eq!(!payloads(&node).is_empty(), attests, "a join token is not spent in vain");
        agent.stop().await;
    }
}
