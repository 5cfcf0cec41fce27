use super::*;
use crate::{spiffe::Entry, testing::ca::TestCa};

fn polled(count: usize) -> Node {
    let mut node = Node::with_entries(count);
    // Entries are what is looked at here: a few SVIDs will do.
    node.config.x509_svid_cache_max_size = 5;
    node.server.set(|server| server.has_watch = false);
    node
}

fn is_sync(asked: &Asked) -> bool {
    *asked == Asked::Sync
}

/// The entries that the agent has, by name and revision.
fn known(agent: &Running) -> Vec<(String, i64)> {
    let snapshot = agent.insight.cache.snapshot();
    let mut known: Vec<_> =
        snapshot.entries.iter().map(|entry| (entry.id.to_string(), entry.revision)).collect();
    known.sort();
    known
}

/// Waits until the round that follows has been taken into use.
async fn another_round(node: &Node) {
    let rounds = node.server.count(is_sync);
    node.server.asked(rounds + 1, is_sync).await;
    pass(1).await;
}

fn put(node: &Node, entry: Entry) {
    node.server.set(|server| server.entries.insert(entry.id.to_string(), entry));
}

#[tokio::test(start_paused = true)]
async fn every_number_of_entries_arrives_whole() {
    for count in [0, 1, 499, 500, 501, 5_000] {
        let node = polled(count);
        let agent = node.start().await;
        node.server.asked(2, is_sync).await;
        assert_eq!(known(&agent).len(), count);
        assert!(agent.readiness.is_ready());
        let pages = node.server.count(|asked| matches!(asked, Asked::SyncIds(_)));
        let expected = if count > 500 { count.div_ceil(500) } else { 0 };
        assert_eq!(pages, expected, "entries are fetched once and by the page");
        agent.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_a_watch_stream_is_asked_at_the_interval() {
    let node = polled(1);
    let agent = node.start().await;
    node.server.asked(20, is_sync).await;
    let log = node.server.log();
    let times: Vec<_> = log.iter().filter(|(_, a)| is_sync(a)).map(|(at, _)| *at).collect();
    for pair in times.windows(2) {
        let pause = (pair[1] - pair[0]).as_secs_f64();
        assert!((4.4..5.6).contains(&pause), "{times:?}");
    }
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn only_what_changed_is_fetched_and_what_is_gone_goes() {
    let node = polled(501);
    let agent = node.start().await;
    another_round(&node).await;
    assert_eq!(known(&agent).len(), 501);
    put(&node, entry("w0007", 3));
    node.server.set(|server| server.entries.remove("w0008"));
    put(&node, entry("x", 0));
    another_round(&node).await;
    let found = known(&agent);
    assert_eq!(found.len(), 501);
    assert!(found.contains(&("w0007".to_owned(), 3)) && found.contains(&("x".to_owned(), 0)));
    assert!(!found.contains(&("w0008".to_owned(), 0)));
    assert_eq!(node.server.log().last().unwrap().1, Asked::SyncIds(2));
    node.server.set(|server| server.entries.clear());
    another_round(&node).await;
    assert!(known(&agent).is_empty(), "an empty list empties the cache");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn revisions_that_go_back_and_forth_between_replicas_change_nothing() {
    for count in [1, 501] {
        let node = polled(count);
        put(&node, entry("w0000", 5));
        let agent = node.start().await;
        another_round(&node).await;
        let mut fetched = node.server.count(|asked| matches!(asked, Asked::SyncIds(_)));
        for revision in [4, 5, 4, 5, 4, 5] {
            put(&node, entry("w0000", revision));
            another_round(&node).await;
            assert!(known(&agent).contains(&("w0000".to_owned(), 5)));
        }
        let later = node.server.count(|asked| matches!(asked, Asked::SyncIds(_)));
        assert_eq!(std::mem::replace(&mut fetched, later), later, "nothing is fetched for it");
        put(&node, entry("w0000", 4));
        for _ in 0..3 {
            another_round(&node).await;
        }
        assert!(known(&agent).contains(&("w0000".to_owned(), 4)), "a restored backup counts");
        agent.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn federated_bundles_come_with_the_entries_that_need_them() {
    let node = polled(0);
    let (known, unknown) = ("other.org", "nowhere.org");
    let mut federated = entry("w", 0);
    let names = [known, unknown].map(|name| TrustDomain::parse(name).unwrap());
    federated.spec.federates_with = names.to_vec();
    put(&node, federated);
    let other = TestCa::new(known, node.clock.now());
    node.server.set(|server| server.federated.insert(known.to_owned(), other.bundle(4, &[])));
    let agent = node.start().await;
    another_round(&node).await;
    let domains = |agent: &Running| {
        let snapshot = agent.insight.cache.snapshot();
        let names = snapshot.bundles.iter().map(|bundle| bundle.trust_domain().name().to_owned());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    assert_eq!(domains(&agent), ["example.org", known], "a missing bundle fails nothing");
    put(&node, entry("w", 1));
    another_round(&node).await;
    assert_eq!(domains(&agent), ["example.org"]);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_is_asked_again_and_the_cache_keeps_what_it_has() {
    let node = polled(3);
    let agent = node.start().await;
    another_round(&node).await;
    node.server.hang_up();
    another_round(&node).await;
    assert_eq!(known(&agent).len(), 3);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_learned_to_push_is_watched_after_the_next_connect() {
    let node = polled(1);
    let agent = node.start().await;
    another_round(&node).await;
    node.server.set(|server| server.has_watch = true);
    node.server.hang_up();
    node.server.asked(1, |asked| *asked == Asked::Watch).await;
    let rounds = node.server.count(is_sync);
    pass(60).await;
    assert_eq!(node.server.count(is_sync), rounds);
    agent.stop().await;
}
