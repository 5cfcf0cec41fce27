use super::*;

#[tokio::test(start_paused = true)]
async fn an_agent_whose_svid_expires_in_an_outage_serves_on_and_attests_when_it_ends() {
    let node = Node::with_entries(2);
    node.server.set(|server| server.agent_life = Duration::from_secs(100));
    let agent = node.start().await;
    agent.served(|view| view.identities.len() == 2).await;
    node.server.go_away();
    agent.standing(|standing| matches!(standing, Standing::Expired(_))).await;
    pass(1_000).await;
    assert_eq!(names(&agent.subscribe().current()), ["/w0000", "/w0001"]);
    node.server.come_back();
    let back = node.clock.now();
    agent.attested().await;
    node.server.asked(2, |asked| *asked == Asked::Watch).await;
    assert!(node.clock.now().duration_since(back).unwrap() <= Duration::from_secs(1));
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_due_in_an_outage_is_signed_as_soon_as_it_ends() {
    let node = Node::with_entries(2);
    node.server.set(|server| server.svid_life = Duration::from_secs(300));
    let agent = node.start().await;
    agent.served(|view| view.identities.len() == 2).await;
    node.server.go_away();
    pass(200).await;
    let before = node.server.count(|asked| matches!(asked, Asked::Sign(_)));
    assert_eq!(before, 1, "nobody is asked while nobody answers");
    node.server.come_back();
    let returned = node.clock.now();
    node.server.asked(2, |asked| *asked == Asked::Watch).await;
    let back = node.clock.now();
    assert!(back.duration_since(returned).unwrap() <= Duration::from_secs(1));
    node.server.asked(before + 1, |asked| matches!(asked, Asked::Sign(_))).await;
    assert!(node.clock.now().duration_since(back).unwrap() <= Duration::from_secs(1));
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_restarted_in_an_outage_serves_at_once() {
    let node = Node::with_entries(3);
    let agent = node.start().await;
    let before = agent.served(|view| view.identities.len() == 3).await;
    agent.stop().await;
    node.server.go_away();
    let agent = node.start().await;
    let after = agent.subscribe().current();
    assert_eq!(names(&after), names(&before));
    assert!(after.is_synced && after.bundles.own.is_some());
    let serials = |view: &View| {
        let mut serials: Vec<_> = view
            .identities
            .iter()
            .map(|found| found.svid.chain()[0].serial().to_string())
            .collect();
        serials.sort();
        serials
    };
    assert_eq!(serials(&after), serials(&before));
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_agents_svids_are_found_again() {
    let node = Node::with_entries(3);
    let agent = node.start().await;
    agent.served(|view| view.identities.len() == 3).await;
    pass(3).await;
    node.kill(agent).await;
    node.server.go_away();
    let agent = node.start().await;
    assert_eq!(names(&agent.subscribe().current()).len(), 3);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_reboot_nothing_is_inherited() {
    let mut node = Node::with_entries(1);
    let agent = node.start().await;
    agent.served(|view| view.identities.len() == 1).await;
    agent.stop().await;
    node.server.go_away();
    node.boot_id = "the next boot";
    let agent = node.start().await;
    assert!(agent.subscribe().current().identities.is_empty());
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_svid_that_expired_between_two_processes_is_not_served() {
    let node = Node::with_entries(1);
    node.server.set(|server| server.svid_life = Duration::from_secs(100));
    let agent = node.start().await;
    agent.served(|view| view.identities.len() == 1).await;
    agent.stop().await;
    node.server.go_away();
    pass(101).await;
    let agent = node.start().await;
    assert!(agent.subscribe().current().identities.is_empty());
    node.server.come_back();
    agent.served(|view| view.identities.len() == 1).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_away_for_long_is_found_again_within_a_second() {
    let node = Node::new();
    let agent = node.start().await;
    agent.attested().await;
    node.server.asked(1, |asked| *asked == Asked::Watch).await;
    node.server.go_away();
    pass(900).await;
    node.server.come_back();
    let back = node.clock.now();
    node.server.asked(2, |asked| *asked == Asked::Watch).await;
    assert!(node.clock.now().duration_since(back).unwrap() <= Duration::from_secs(1));
    agent.stop().await;
}
