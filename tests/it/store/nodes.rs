//! Nodes and join tokens.

use super::{create, id, memory, spec};
use finial::{
    server::store::{AttestError, Node, Store, StoreError, TokenError},
    spiffe::{EntrySpec, Selector, SelectorSet, SpiffeId},
};

fn node(path: &str) -> Node {
    Node {
        id: id(path),
        attestation_type: "join_token".to_owned(),
        serial: "1".to_owned(),
        new_serial: String::new(),
        expires_at: 2_000,
        new_expires_at: 0,
        banned: false,
        can_reattest: false,
        selectors: SelectorSet::default(),
        agent_version: String::new(),
    }
}

const AGENT: &str = "/spire/agent/join_token/t";

fn alias_of(agent: &SpiffeId) -> EntrySpec {
    let selector = Selector::new("spiffe_id", agent.as_str()).unwrap();
    EntrySpec {
        parent_id: agent.clone(),
        selectors: [selector].into_iter().collect(),
        ..spec("/alias")
    }
}

async fn with_token(expires_at: i64) -> Store {
    let store = memory();
    store.create_join_token("t".to_owned(), expires_at, Some(alias_of(&id(AGENT)))).await.unwrap();
    store
}

async fn attest(store: &Store) -> Result<(), AttestError> {
    store.attest_node(node(AGENT), Some("t".to_owned())).await.map(|_| ())
}

#[tokio::test]
async fn a_join_token_lets_one_of_many_in() {
    let store = with_token(2_000).await;
    let results = futures_util::future::join_all((0..64).map(|_| attest(&store))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let refused = results.iter().filter_map(|result| result.as_ref().err());
    assert!(refused.into_iter().all(|error| matches!(error, AttestError::TokenUnknown)));
    assert_eq!(store.nodes().len(), 1);
}

#[tokio::test]
async fn an_expired_token_is_used_up_and_says_so_once() {
    let store = with_token(999).await;
    assert!(matches!(attest(&store).await, Err(AttestError::TokenExpired)));
    assert!(matches!(attest(&store).await, Err(AttestError::TokenUnknown)));
    assert!(store.nodes().is_empty());
    with_token(1_000).await.attest_node(node(AGENT), Some("t".to_owned())).await.unwrap();
}

#[tokio::test]
async fn a_token_and_its_alias_are_created_together_or_not_at_all() {
    let store = with_token(2_000).await;
    let create =
        async |token: &str, alias| store.create_join_token(token.to_owned(), 2_000, alias).await;
    assert!(matches!(create("t", None).await, Err(TokenError::Exists)));
    let similar = create("u", Some(alias_of(&id(AGENT)))).await;
    assert!(matches!(similar, Err(TokenError::Alias(_))));
    create("u", None).await.unwrap();
}

#[tokio::test]
async fn forgetting_a_join_token_agent_removes_its_alias_and_nothing_else() {
    let store = with_token(2_000).await;
    attest(&store).await.unwrap();
    let workload = create(&store, EntrySpec { parent_id: id(AGENT), ..spec("/w") }).await;
    assert!(store.delete_node(&id(AGENT)).await.unwrap());
    assert_eq!(store.entries(), [workload]);
    assert!(!store.delete_node(&id(AGENT)).await.unwrap());
}

#[tokio::test]
async fn a_banned_node_stays_out_and_has_no_serial() {
    let store = with_token(2_000).await;
    attest(&store).await.unwrap();
    assert!(store.ban_node(&id(AGENT)).await.unwrap());
    let banned = store.node(&id(AGENT)).unwrap();
    assert!(banned.banned && banned.serial.is_empty());
    let again = store.attest_node(node(AGENT), None).await;
    assert!(matches!(again, Err(AttestError::Banned)));
    assert!(!store.ban_node(&id("/spire/agent/x")).await.unwrap());
}

#[tokio::test]
async fn a_new_serial_counts_when_it_is_used() {
    let store = memory();
    store.attest_node(node(AGENT), None).await.unwrap();
    store.set_new_serial(&id(AGENT), "2".to_owned(), 3_000).await.unwrap();
    let promote = async |serial: &str| {
        let node = store.promote_serial(&id(AGENT), serial.to_owned()).await.unwrap();
        (node.serial.clone(), node.expires_at, node.new_serial.clone(), node.new_expires_at)
    };
    assert_eq!(promote("9").await, ("1".to_owned(), 2_000, "2".to_owned(), 3_000));
    assert_eq!(promote("2").await, ("2".to_owned(), 3_000, String::new(), 0));
    assert_eq!(promote("").await.0, "2");
    let sequence = store.sequence().current();
    promote("2").await;
    assert_eq!(store.sequence().current(), sequence, "what changes nothing is no change");
    let unknown = store.set_agent_version(&id("/spire/agent/x"), "1".to_owned()).await;
    assert!(matches!(unknown, Err(StoreError::UnknownNode(_))));
}

#[tokio::test]
async fn attesting_again_replaces_the_selectors_and_keeps_the_place() {
    let store = memory();
    for path in ["/spire/agent/a", "/spire/agent/b"] {
        store.attest_node(node(path), None).await.unwrap();
    }
    let selectors: SelectorSet = [Selector::parse("k8s:ns:a").unwrap()].into_iter().collect();
    let again = Node { selectors: selectors.clone(), ..node("/spire/agent/a") };
    store.attest_node(again, None).await.unwrap();
    let nodes: Vec<_> = store
        .nodes()
        .iter()
        .map(|node| (node.id.path().to_owned(), node.selectors.clone()))
        .collect();
    assert_eq!(
        nodes,
        [
            ("/spire/agent/a".to_owned(), selectors),
            ("/spire/agent/b".to_owned(), SelectorSet::default())
        ]
    );
}
