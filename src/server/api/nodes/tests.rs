//! Filters, pages and masks over a store in memory.

use super::*;
use crate::{
    runtime::{Clock, clock::from_unix_secs},
    server::store::StoreConfig,
    spiffe::{Selector, SpiffeId},
};

fn node(name: &str) -> Node {
    Node {
        id: SpiffeId::parse(&format!("spiffe://example.org/spire/agent/{name}")).unwrap(),
        attestation_type: "join_token".to_owned(),
        serial: "7".to_owned(),
        new_serial: String::new(),
        expires_at: 1_000,
        new_expires_at: 0,
        banned: false,
        can_reattest: false,
        selectors: SelectorSet::default(),
        agent_version: "1.0".to_owned(),
    }
}

fn selectors(texts: &[&str]) -> SelectorSet {
    texts.iter().map(|text| Selector::parse(text).unwrap()).collect()
}

fn by_selectors(texts: &[&str], how: MatchBehavior) -> AgentFilter {
    let selectors = wire::selector::to_wire(&selectors(texts));
    let by = types::SelectorMatch { selectors, r#match: how as i32 };
    AgentFilter { by_selector_match: Some(by), ..AgentFilter::default() }
}

#[test]
fn each_part_of_a_filter_must_fit() {
    let accepts =
        |filter: AgentFilter, node: &Node| Filter::read(Some(filter)).unwrap().accepts(node);
    let plain = AgentFilter::default;
    let banned = Node { banned: true, ..node("b") };
    assert!(accepts(plain(), &banned));
    assert!(!accepts(AgentFilter { by_banned: Some(false), ..plain() }, &banned));
    assert!(accepts(AgentFilter { by_banned: Some(true), ..plain() }, &banned));
    assert!(!accepts(AgentFilter { by_can_reattest: Some(true), ..plain() }, &banned));
    let k8s = AgentFilter { by_attestation_type: "k8s_psat".to_owned(), ..plain() };
    assert!(!accepts(k8s, &banned));
    // Second 1,000 is 00:16:40 UTC, 02:16:40 two hours to the east.
    for (time, is_before) in
        [("1970-01-01 02:16:41 +0200 +02", true), ("1970-01-01 02:16:40 +0200 +02", false)]
    {
        let filter = AgentFilter { by_expires_before: time.to_owned(), ..plain() };
        assert_eq!(accepts(filter, &banned), is_before, "{time}");
    }
}

#[test]
fn selectors_match_in_the_four_ways() {
    let node = Node { selectors: selectors(&["a:1", "b:2"]), ..node("n") };
    for (given, exact, subset, superset, any) in [
        (&["a:1", "b:2"][..], true, true, true, true),
        (&["a:1"], false, false, true, true),
        (&["a:1", "b:2", "c:3"], false, true, false, true),
        (&["c:3"], false, false, false, false),
    ] {
        for (how, expected) in [
            (MatchBehavior::MatchExact, exact),
            (MatchBehavior::MatchSubset, subset),
            (MatchBehavior::MatchSuperset, superset),
            (MatchBehavior::MatchAny, any),
        ] {
            let filter = Filter::read(Some(by_selectors(given, how))).unwrap();
            assert_eq!(filter.accepts(&node), expected, "{given:?} {how:?}");
        }
    }
}

#[test]
fn a_filter_that_cannot_be_read_is_refused() {
    let refused = |filter| Filter::read(Some(filter)).unwrap_err();
    assert_eq!(refused(by_selectors(&[], MatchBehavior::MatchAny)), FilterError::NoSelectors);
    let mut unknown = by_selectors(&["a:1"], MatchBehavior::MatchAny);
    unknown.by_selector_match.as_mut().unwrap().r#match = 9;
    assert_eq!(refused(unknown), FilterError::Match(9));
    for time in ["soon", "2021-13-01 00:00:00 +0000 +00", "2021-01-01 00:00:00 +0100 +02"] {
        let filter = AgentFilter { by_expires_before: time.to_owned(), ..AgentFilter::default() };
        assert_eq!(refused(filter), FilterError::ExpiresBefore(time.to_owned()));
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_and_the_last_says_so() {
    let clock = Clock::anchored_at(from_unix_secs(1_000));
    let store = Store::open(&StoreConfig::Memory, clock).unwrap();
    for number in 0..5 {
        let mut node = node(&number.to_string());
        node.can_reattest = number != 2;
        store.attest_node(node, None).await.unwrap();
    }
    let filter = AgentFilter { by_can_reattest: Some(true), ..AgentFilter::default() };
    let filter = Filter::read(Some(filter)).unwrap();
    let names = |page: &Page| -> Vec<char> {
        page.nodes.iter().map(|node| node.id.path().chars().last().unwrap()).collect()
    };
    assert_eq!(names(&filter.page(&store, 0, "").unwrap()), ['0', '1', '3', '4']);
    let first = filter.page(&store, 3, "").unwrap();
    assert_eq!(names(&first), ['0', '1', '3']);
    let second = filter.page(&store, 3, &first.next).unwrap();
    assert_eq!((names(&second), second.next.as_str()), (vec!['4'], ""));
    let whole = filter.page(&store, 4, "").unwrap();
    assert_eq!((whole.nodes.len(), whole.next.as_str()), (4, ""));
    let error = filter.page(&store, 3, "x").unwrap_err();
    assert_eq!(error.to_string(), "could not parse token 'x'");
}

#[test]
fn a_mask_keeps_the_id_and_what_it_names() {
    let mask = types::AgentMask { banned: true, ..types::AgentMask::default() };
    let shown = to_wire(&Node { banned: true, ..node("n") }, Some(&mask));
    let only = types::Agent { id: shown.id.clone(), banned: true, ..types::Agent::default() };
    assert_eq!(shown, only);
    assert_eq!(to_wire(&node("n"), None).agent_version, "1.0");
}
