use super::*;
use crate::{agent::identity::Cause, testing::ca::TestCa, transport::status::Reason};
use tonic::Status;

fn is_attest(asked: &Asked) -> bool {
    matches!(asked, Asked::Attest(_))
}

fn asked(node: &Node) -> Vec<Asked> {
    node.server.log().into_iter().map(|(_, asked)| asked).collect()
}

#[tokio::test(start_paused = true)]
async fn a_new_agent_attests_with_its_token_and_comes_back_as_itself() {
    let node = Node::new();
    let agent = node.start().await;
    let svid = agent.attested().await;
    assert_eq!(svid.id().path(), "/spire/agent/join_token/one");
    node.server.asked(1, |asked| *asked == Asked::Watch).await;
    let serial = svid.chain()[0].serial().to_string();
    assert_eq!(
        asked(&node)[..4],
        [
            Asked::Connect(None),
            Asked::Attest("one".to_owned()),
            Asked::Bundle,
            Asked::Connect(Some(serial)),
        ]
    );
    node.server.asked(1, |asked| *asked == Asked::Status).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_uses_its_stored_svid_and_no_token() {
    let node = Node::new();
    let agent = node.start().await;
    let first = agent.attested().await;
    agent.stop().await;
    let agent = node.start().await;
    assert_eq!(agent.attested().await.chain(), first.chain());
    node.server.asked(2, |asked| *asked == Asked::Watch).await;
    assert_eq!(node.server.count(is_attest), 1);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_refused_is_not_sent_again() {
    let mut node = Node::new();
    node.config.key_manager = KeyManager::Memory;
    let agent = node.start().await;
    agent.attested().await;
    agent.stop().await;
    // The key is gone, and the token is used up.
    let used = Status::invalid_argument("join token does not exist or has already been used");
    node.server.set(|server| server.attest_failures.push_back(used));
    let agent = node.start().await;
    node.server.asked(2, is_attest).await;
    pass(600).await;
    assert_eq!(node.server.count(is_attest), 2);
    assert!(matches!(
        agent.insight.identity.standing().current(),
        Standing::Unattested(Cause::New)
    ));
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn attestation_is_retried_for_ever_with_pauses_of_at_most_30_s() {
    let node = Node::new();
    node.server.set(|server| {
        server.attest_failures = (0..30).map(|_| Status::unavailable("starting")).collect();
    });
    let agent = node.start().await;
    agent.attested().await;
    let log = node.server.log();
    let times: Vec<_> = log.iter().filter(|(_, a)| is_attest(a)).map(|(at, _)| *at).collect();
    let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses.len(), 30);
    assert!(pauses[0] <= Duration::from_millis(600), "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause < Duration::from_millis(30_100)), "{pauses:?}");
    assert!(pauses[20..].iter().any(|pause| *pause > Duration::from_secs(10)), "{pauses:?}");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_replaced_bundle_file_is_used_at_the_next_attempt() {
    let node = Node::new();
    let right = std::fs::read(node.path("bundle.pem")).unwrap();
    let stranger = TestCa::new("example.org", node.clock.now());
    let wrong = pem::certificates(&[stranger.authority().certificate().clone()]);
    std::fs::write(node.path("bundle.pem"), wrong).unwrap();
    let agent = node.start().await;
    pass(120).await;
    assert_eq!(node.server.log(), [], "nothing is sent to a server that is not verified");
    std::fs::write(node.path("bundle.pem"), right).unwrap();
    let replaced = node.clock.now();
    agent.attested().await;
    assert!(node.clock.now().duration_since(replaced).unwrap() <= Duration::from_secs(31));
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn insecure_bootstrap_needs_no_file_and_verifies_from_then_on() {
    let mut node = Node::new();
    node.config.bootstrap = Bootstrap::Insecure;
    let agent = node.start().await;
    agent.attested().await;
    node.server.asked(1, |asked| *asked == Asked::Watch).await;
    agent.stop().await;
    let connects = node.server.count(|asked| matches!(asked, Asked::Connect(_)));
    node.server.sign_with(TestCa::new("example.org", node.clock.now()));
    let agent = node.start().await;
    pass(60).await;
    let later = node.server.count(|asked| matches!(asked, Asked::Connect(_)));
    assert_eq!(later, connects, "an impostor is not believed once the server is known");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_the_server_forgot_attests_again() {
    for reason in [Reason::AgentNotAttested, Reason::AgentNotActive, Reason::AgentExpired] {
        let node = Node::with_entries(1);
        let agent = node.start().await;
        agent.served(|view| view.identities.len() == 1).await;
        node.server.set(|server| server.denial = Some(reason));
        node.server.hang_up();
        let denied = Cause::Denied(reason);
        let is_denied = |standing: &Standing| matches!(standing, Standing::Unattested(cause) if *cause == denied);
        agent.standing(is_denied).await;
        node.server.set(|server| server.denial = None);
        agent.attested().await;
        assert_eq!(node.server.count(is_attest), 2, "{reason:?}");
        assert_eq!(names(&agent.subscribe().current()), ["/w0000"], "{reason:?}");
        agent.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_banned_agent_keeps_serving_and_leaves_nothing_to_the_next_process() {
    let node = Node::with_entries(2);
    let agent = node.start().await;
    agent.served(|view| view.identities.len() == 2).await;
    pass(5).await;
    assert!(node.path("svids").exists());
    node.server.set(|server| server.denial = Some(Reason::AgentBanned));
    let banned = || Status::permission_denied("failed to attest: agent is banned");
    node.server.set(|server| server.attest_failures = (0..100).map(|_| banned()).collect());
    node.server.hang_up();
    agent.standing(|standing| matches!(standing, Standing::Banned)).await;
    pass(60).await;
    assert!(matches!(agent.insight.identity.standing().current(), Standing::Banned));
    assert_eq!(names(&agent.subscribe().current()).len(), 2, "workloads keep what is valid");
    agent.stop().await;
    assert!(!node.path("svids").exists());
    let stored = std::fs::read_to_string(node.path("data/agent-data.json")).unwrap();
    assert!(stored.starts_with(r#"{"svid":null,"#), "{stored}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_behind_the_servers_by_45_s_is_no_obstacle_and_by_90_s_an_error() {
    let node = Node::new();
    node.server.set(|server| server.clock_ahead = Duration::from_secs(45));
    let agent = node.start().await;
    agent.attested().await;
    agent.stop().await;

    let node = Node::new();
    node.server.set(|server| server.clock_ahead = Duration::from_secs(90));
    let agent = node.start().await;
    node.server.asked(2, is_attest).await;
    assert!(agent.insight.identity.standing().current().svid().is_none());
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn damaged_state_is_set_aside_and_the_agent_attests_anew() {
    let node = Node::new();
    let agent = node.start().await;
    agent.attested().await;
    agent.stop().await;
    std::fs::write(node.path("data/agent-data.json"), "{\"svid\":[\"LS0t").unwrap();
    let agent = node.start().await;
    agent.attested().await;
    assert_eq!(node.server.count(is_attest), 2);
    agent.stop().await;
}
