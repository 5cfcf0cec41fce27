use super::*;
use crate::{agent::sync::Link, testing::ca::TestCa, wire::proto::finial::agent::v1::WatchEvent};

fn is_watch(asked: &Asked) -> bool {
    *asked == Asked::Watch
}

fn with_entry(name: &str, revision: i64) -> WatchEvent {
    WatchEvent { entries: vec![(&entry(name, revision)).into()], ..WatchEvent::default() }
}

#[tokio::test(start_paused = true)]
async fn a_pushed_entry_is_signed_and_served_without_any_time_passing() {
    let node = Node::new();
    let agent = node.start().await;
    node.server.asked(1, is_watch).await;
    pass(1).await;
    node.server.set(|server| server.entries.insert("new".to_owned(), entry("new", 0)));
    let before = node.clock.now();
    node.server.push(with_entry("new", 0)).await;
    agent.served(|view| names(view) == ["/new"]).await;
    assert!(node.clock.now().duration_since(before).unwrap() < Duration::from_millis(10));
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_entry_is_no_longer_served() {
    let node = Node::with_entries(2);
    let agent = node.start().await;
    agent.served(|view| view.identities.len() == 2).await;
    let removed_entry_ids = vec!["w0000".to_owned()];
    node.server.push(WatchEvent { removed_entry_ids, ..WatchEvent::default() }).await;
    agent.served(|view| names(view) == ["/w0001"]).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_removed_while_nobody_watched_goes_with_the_next_snapshot() {
    let node = Node::with_entries(2);
    let agent = node.start().await;
    agent.served(|view| view.identities.len() == 2).await;
    node.server.set(|server| server.entries.remove("w0001"));
    node.server.hang_up();
    agent.served(|view| names(view) == ["/w0000"]).await;
    assert_eq!(node.server.count(is_watch), 2);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_server_is_told_which_bundle_the_streams_have_acknowledged() {
    let node = Node::with_entries(1);
    let agent = node.start().await;
    agent.served(|view| view.identities.len() == 1).await;
    let served = agent.insight.cache.served_sequence().clone();
    let mut stream = served.stream();
    let other = TestCa::new("example.org", node.clock.now());
    let bundle = node.server.ca().bundle(2, &[&other]);
    let event = WatchEvent { bundles: vec![(&bundle).into()], ..WatchEvent::default() };
    node.server.push(event).await;
    agent.served(|view| view.bundles.own.as_ref().unwrap().sequence() == 2).await;
    pass(60).await;
    let told = |node: &Node| -> Vec<u64> {
        let log = node.server.log().into_iter();
        log.filter_map(|(_, asked)| match asked {
            Asked::Serves(sequence) => Some(sequence),
            _ => None,
        })
        .collect()
    };
    assert_eq!(told(&node), [0, 1], "a stream still has the old one");
    stream.acknowledge(2);
    node.server.asked(1, |asked| *asked == Asked::Serves(2)).await;
    assert_eq!(told(&node), [0, 1, 2]);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_is_not_understood_is_left_out_and_nothing_else() {
    let node = Node::new();
    let agent = node.start().await;
    node.server.asked(1, is_watch).await;
    pass(1).await;
    node.server.set(|server| server.entries.insert("good".to_owned(), entry("good", 0)));
    let mut event = with_entry("bad", 0);
    event.entries[0].selectors.clear();
    event.entries.push((&entry("good", 0)).into());
    node.server.push(event).await;
    agent.served(|view| names(view) == ["/good"]).await;
    assert_eq!(agent.insight.cache.snapshot().entries.len(), 1);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn readiness_and_status_say_whether_the_server_was_heard() {
    let node = Node::new();
    node.server.go_away();
    let agent = node.start().await;
    pass(10).await;
    assert!(agent.readiness.missing().contains_key("sync"));
    assert_eq!(agent.insight.sync.current(), SyncStatus::default());
    node.server.come_back();
    let watching = |status: &SyncStatus| status.last_heard.is_some();
    agent.insight.sync.clone().wait_for(watching).await.unwrap();
    assert_eq!(agent.insight.sync.current().link, Link::Watching);
    assert!(agent.readiness.is_ready());
    node.server.go_away();
    let down = |status: &SyncStatus| status.link == Link::Down;
    let status = agent.insight.sync.clone().wait_for(down).await.unwrap();
    assert!(status.last_heard.is_some());
    agent.stop().await;
}
