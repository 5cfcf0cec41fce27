use super::*;
use crate::{
    spiffe::{Bundle, bundle::X509Authority},
    testing::ca::TestCa,
    transport::status::Reason,
    wire::proto::finial::agent::v1::WatchEvent,
};
use tonic::Status;

/// When each batch was signed, and for which entries.
fn signed(node: &Node) -> Vec<(Duration, Vec<String>)> {
    let log = node.server.log().into_iter();
    log.filter_map(|(at, asked)| match asked {
        Asked::Sign(ids) => Some((at, ids)),
        _ => None,
    })
    .collect()
}

fn secs(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[tokio::test(start_paused = true)]
async fn the_agents_svid_is_renewed_around_half_of_its_life_into_the_other_slot() {
    let node = Node::new();
    let agent = node.start().await;
    let first = agent.attested().await;
    node.server.asked(1, |asked| *asked == Asked::Renew).await;
    let log = node.server.log();
    let at = log.iter().find(|(_, asked)| *asked == Asked::Renew).unwrap().0;
    assert!((1_600.0..2_000.0).contains(&secs(at)), "{at:?}");
    let is_new =
        |standing: &Standing| standing.svid().is_some_and(|svid| svid.chain() != first.chain());
    let standing = agent.standing(is_new).await;
    let serial = standing.svid().unwrap().chain()[0].serial().to_string();
    node.server.asked(1, |asked| *asked == Asked::Connect(Some(serial.clone()))).await;
    let keys = std::fs::read_to_string(node.path("data/keys.json")).unwrap();
    assert!(keys.contains("agent-svid-A") && keys.contains("agent-svid-B"));
    agent.stop().await;
    // And the pair on disk belongs together.
    let again = node.start().await;
    assert_eq!(again.attested().await.chain()[0].serial().to_string(), serial);
    again.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_is_retried_and_the_svid_stays_in_use() {
    let node = Node::new();
    let failures = (0..5).map(|_| Status::internal("database")).collect();
    node.server.set(|server| server.renew_failures = failures);
    let agent = node.start().await;
    let first = agent.attested().await;
    node.server.asked(5, |asked| *asked == Asked::Renew).await;
    assert_eq!(agent.attested().await.chain(), first.chain());
    node.server.asked(6, |asked| *asked == Asked::Renew).await;
    let is_new = |s: &Standing| s.svid().is_some_and(|svid| svid.chain() != first.chain());
    agent.standing(is_new).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_must_attest_again_does_so_while_its_svid_is_good() {
    let node = Node::new();
    let must = Reason::AgentMustReattest.status("agent must reattest instead of renew");
    node.server.set(|server| server.renew_failures.push_back(must));
    let agent = node.start().await;
    agent.attested().await;
    node.server.asked(2, |asked| matches!(asked, Asked::Attest(_))).await;
    assert!(agent.insight.identity.standing().current().svid().is_some());
    assert_eq!(node.server.count(|asked| *asked == Asked::Renew), 1);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn workloads_svids_are_renewed_once_each_around_half_of_their_life() {
    let node = Node::with_entries(20);
    node.server.set(|server| server.svid_life = Duration::from_secs(1_000));
    let agent = node.start().await;
    agent.served(|view| view.identities.len() == 20).await;
    let start = signed(&node).last().unwrap().0;
    pass(700).await;
    let renewed: Vec<_> = signed(&node).into_iter().filter(|(at, _)| *at > start).collect();
    let mut names: Vec<_> = renewed.iter().flat_map(|(_, ids)| ids.clone()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 20);
    assert_eq!(renewed.iter().map(|(_, ids)| ids.len()).sum::<usize>(), 20, "each once");
    for (at, _) in &renewed {
        assert!((410.0..560.0).contains(&secs(*at - start)), "{at:?}");
    }
    assert!(renewed.len() >= 3, "renewals are spread, not in one herd: {renewed:?}");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_configured_age_renews_sooner() {
    let mut node = Node::with_entries(1);
    node.config.renew_every = Some(Duration::from_secs(10));
    let agent = node.start().await;
    agent.served(|view| view.identities.len() == 1).await;
    node.server.asked(6, |asked| matches!(asked, Asked::Sign(_))).await;
    let times: Vec<_> = signed(&node).iter().map(|(at, _)| *at).collect();
    for pair in times.windows(2) {
        assert!((9.9..10.2).contains(&secs(pair[1] - pair[0])), "{times:?}");
    }
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn many_entries_are_signed_in_batches_of_64_and_renewed_in_larger_ones() {
    let node = Node::with_entries(300);
    node.server.set(|server| server.svid_life = Duration::from_secs(1_000));
    let agent = node.start().await;
    agent.served(|view| view.identities.len() == 300).await;
    let batches: Vec<_> = signed(&node).iter().map(|(_, ids)| ids.len()).collect();
    assert_eq!(batches.iter().sum::<usize>(), 300);
    assert!(batches.iter().all(|length| *length <= 64), "{batches:?}");
    let calls = batches.len();
    pass(600).await;
    let renewals: Vec<_> = signed(&node)[calls..].iter().map(|(_, ids)| ids.len()).collect();
    assert_eq!(renewals.iter().sum::<usize>(), 300, "{renewals:?}");
    assert!(renewals.iter().any(|length| *length > 64), "{renewals:?}");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_entry_that_cannot_be_signed_disturbs_no_other() {
    let node = Node::with_entries(3);
    let refusal = Status::not_found("entry not found or not authorized");
    node.server.set(|server| server.sign_failures.insert("w0001".to_owned(), refusal));
    let agent = node.start().await;
    let view = agent.served(|view| view.identities.len() == 2).await;
    assert_eq!(names(&view), ["/w0000", "/w0002"]);
    pass(60).await;
    assert!(signed(&node).len() >= 3, "it is tried again");
    node.server.set(|server| server.sign_failures.clear());
    agent.served(|view| view.identities.len() == 3).await;
    let others =
        signed(&node).into_iter().flat_map(|(_, ids)| ids.clone()).filter(|id| id != "w0001");
    assert_eq!(others.count(), 2);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_svid_from_the_future_is_held_until_it_is_valid() {
    let node = Node::with_entries(1);
    node.server.set(|server| server.clock_ahead = Duration::from_secs(45));
    let agent = node.start().await;
    let view = agent.served(|view| view.identities.len() == 1).await;
    assert!(view.identities[0].svid.is_valid_at(node.clock.now()));
    assert_eq!(signed(&node).len(), 1);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_tainted_authority_signed_is_renewed_at_once() {
    let node = Node::with_entries(3);
    let agent = node.start().await;
    let own = agent.attested().await;
    agent.served(|view| view.identities.len() == 3).await;
    let (old, new) = (node.server.ca(), TestCa::new("example.org", node.clock.now()));
    let authority = |ca: &TestCa, tainted| X509Authority {
        certificate: ca.authority().certificate().clone(),
        tainted,
    };
    let authorities = vec![authority(&old, true), authority(&new, false)];
    let name = old.trust_domain().clone();
    let bundle = Bundle::new(name, authorities, Vec::new(), 2, 0);
    node.server.sign_with(new);
    let before = node.clock.now();
    let event = WatchEvent { bundles: vec![(&bundle).into()], ..WatchEvent::default() };
    node.server.push(event).await;
    let signed_anew = node.server.ca().authority().certificate().subject_der().to_vec();
    let is_new = |view: &View| {
        view.identities.iter().all(|found| found.svid.chain()[0].issuer_der() == signed_anew)
    };
    agent.served(|view| view.identities.len() == 3 && is_new(view)).await;
    agent.standing(|s| s.svid().is_some_and(|svid| svid.chain() != own.chain())).await;
    let took = node.clock.now().duration_since(before).unwrap();
    assert!(took <= Duration::from_secs(3), "{took:?}");
    pass(60).await;
    assert_eq!(node.server.count(|asked| *asked == Asked::Renew), 1, "no loop");
    agent.stop().await;
}
