//! What the server is asked for, by what it has.

use super::*;
use crate::spiffe::{Selector, SpiffeId, entry::Hint};

/// An entry under a node.
pub(crate) fn entry(id: &str, spiffe_id: &str, selector: &str) -> Entry {
    Entry {
        id: EntryId::parse(id).unwrap(),
        revision: 0,
        created_at: 0,
        spec: spec(spiffe_id, selector),
    }
}

fn spec(spiffe_id: &str, selector: &str) -> EntrySpec {
    EntrySpec {
        spiffe_id: SpiffeId::parse(spiffe_id).unwrap(),
        parent_id: SpiffeId::parse("spiffe://d/node").unwrap(),
        selectors: [Selector::parse(selector).unwrap()].into_iter().collect(),
        x509_svid_ttl_secs: 0,
        jwt_svid_ttl_secs: 0,
        federates_with: Vec::new(),
        admin: false,
        downstream: false,
        expires_at: 0,
        dns_names: Vec::new(),
        store_svid: false,
        hint: Hint::default(),
        disable_x509_svid_prefetch: false,
        jwt_svid_include_jti: false,
    }
}

use crate::controller::{
    plan::Unset,
    settings::Settings,
    world::{Event, Kind, Owner, Scope},
};

fn wanted(spec: EntrySpec) -> (EntryKey, Arc<Wanted>) {
    let owner = Owner::SpiffeId("r".into());
    (EntryKey::of(&spec), Arc::new(Wanted { spec, owner, pod: Some("u".into()) }))
}

fn ledger(prefix: &str, cleanup: Option<&str>, listing: Vec<Entry>) -> (Ledger, Changes) {
    let mut ledger = Ledger::new(Ownership::new(prefix, cleanup).unwrap());
    let changes = ledger.compare(listing, &listed_plan());
    (ledger, changes)
}

/// A plan of an empty cluster, of which everything is known.
fn listed_plan() -> Plan {
    let mut plan = Plan::new(Settings::of_test("d"));
    for kind in Kind::ALL {
        plan.apply(Event::ListBegan(Scope::all(kind)));
        plan.apply(Event::ListEnded(Scope::all(kind)));
    }
    assert!(plan.recompute().is_empty());
    plan
}

fn set(spec: &EntrySpec) -> Delta {
    Delta { set: vec![wanted(spec.clone())], ..Delta::default() }
}

#[test]
fn upstreams_key_vectors_hold() {
    let with = |edit: fn(&mut EntrySpec)| {
        let mut spec = spec("spiffe://d/1", "A:A");
        edit(&mut spec);
        EntryKey::of(&spec)
    };
    let selectors = |texts: &[&str]| texts.iter().map(|t| Selector::parse(t).unwrap()).collect();
    let base = with(|_| {});
    assert_eq!(base, with(|spec| spec.x509_svid_ttl_secs = 1));
    assert_eq!(base, with(|spec| spec.admin = true));
    assert_eq!(base, with(|spec| spec.downstream = true));
    assert_eq!(base, with(|spec| spec.dns_names = vec!["a".parse_dns()]));
    assert_ne!(base, with(|spec| spec.parent_id = SpiffeId::parse("spiffe://d/other").unwrap()));
    assert_ne!(base, with(|spec| spec.spiffe_id = SpiffeId::parse("spiffe://d/2").unwrap()));
    let key = |texts: &[&str]| {
        let mut spec = spec("spiffe://d/1", "A:A");
        spec.selectors = selectors(texts);
        EntryKey::of(&spec)
    };
    assert_eq!(key(&["A:A", "B:B"]), key(&["B:B", "A:A"]));
    assert_ne!(key(&["A:A", "B:B"]), key(&["A:A", "A:C"]));
    // Written without lengths these two would be one.
    assert_ne!(key(&["A:AB", "B:B"]), key(&["A:A", "BB:B"]));
}

trait ParseDns {
    fn parse_dns(&self) -> crate::spiffe::dns::DnsName;
}

impl ParseDns for str {
    fn parse_dns(&self) -> crate::spiffe::dns::DnsName {
        crate::spiffe::dns::DnsName::parse(self).unwrap()
    }
}

#[test]
fn what_the_server_has_as_wanted_is_left_alone() {
    let one = entry("c.1", "spiffe://d/1", "a:1");
    let spec = one.spec.clone();
    let (ledger, _) = ledger("c", None, vec![one]);
    assert!(ledger.follow(&set(&spec)).is_empty());
}

#[test]
fn each_field_that_matters_makes_an_update_and_order_does_not() {
    let edits: [fn(&mut EntrySpec); 8] = [
        |spec| spec.x509_svid_ttl_secs = 1,
        |spec| spec.jwt_svid_ttl_secs = 1,
        |spec| spec.federates_with.truncate(1),
        |spec| spec.admin = true,
        |spec| spec.downstream = true,
        |spec| spec.dns_names.truncate(1),
        |spec| spec.hint = Hint::parse("h").unwrap(),
        |spec| spec.store_svid = true,
    ];
    let mut one = entry("c.1", "spiffe://d/1", "a:1");
    one.spec.dns_names = vec!["a".parse_dns(), "b".parse_dns()];
    one.spec.federates_with =
        ["x", "y"].map(|name| crate::spiffe::TrustDomain::parse(name).unwrap()).to_vec();
    let base = one.spec.clone();
    let (mut ledger, _) = ledger("c", None, vec![one]);
    let mut turned = base.clone();
    turned.dns_names.reverse();
    turned.federates_with.reverse();
    assert!(ledger.follow(&set(&turned)).is_empty());
    for edit in edits {
        let mut spec = base.clone();
        edit(&mut spec);
        let changes = ledger.follow(&set(&spec));
        let ids: Vec<_> = changes.updates.iter().map(|update| update.id.as_str()).collect();
        assert_eq!(ids, ["c.1"], "{spec:?}");
        ledger.updated(&changes.updates[0].id, &spec);
        assert!(ledger.follow(&set(&spec)).is_empty());
        ledger.updated(&changes.updates[0].id, &base);
    }
}

#[test]
fn entries_of_others_are_neither_changed_nor_doubled() {
    let (ledger, changes) = ledger("c", None, vec![entry("by-hand", "spiffe://d/1", "a:1")]);
    assert!(changes.is_empty());
    let mut spec = spec("spiffe://d/1", "a:1");
    spec.admin = true;
    let changes = ledger.follow(&set(&spec));
    assert!(changes.is_empty());
    assert_eq!(changes.foreign.len(), 1);
}

#[test]
fn duplicates_and_former_prefixes_go_and_identities_stay() {
    let listing = vec![
        entry("c.1", "spiffe://d/1", "a:1"),
        entry("c.2", "spiffe://d/1", "a:1"),
        entry("old", "spiffe://d/2", "a:1"),
        entry("older", "spiffe://d/3", "a:1"),
    ];
    let (ledger, changes) = ledger("c", Some(""), listing);
    let reasons: Vec<_> = changes.deletes.iter().map(|d| (d.id.as_str(), d.reason)).collect();
    let absent = Reason::Unwanted(Evidence::Absent);
    assert_eq!(
        reasons,
        [("c.1", absent), ("c.2", absent), ("old", Reason::Cleanup), ("older", Reason::Cleanup)]
    );
    let changes = ledger.follow(&set(&spec("spiffe://d/1", "a:1")));
    assert_eq!(changes.deletes[0].reason, Reason::Duplicate);
    let changes = ledger.follow(&set(&spec("spiffe://d/2", "a:1")));
    assert_eq!(changes.replacements[0].id.as_str(), "old");
    assert!(changes.deletes.is_empty() && changes.creates.is_empty());
}

#[test]
fn what_was_created_is_deleted_when_it_is_unset() {
    let (mut ledger, _) = ledger("c", None, Vec::new());
    let spec = spec("spiffe://d/1", "a:1");
    let delta = set(&spec);
    assert_eq!(ledger.follow(&delta).creates.len(), 1);
    ledger.created(EntryId::parse("c.9").unwrap(), &spec);
    assert_eq!(ledger.owned(), 1);
    let (key, wanted) = wanted(spec);
    let unset = vec![Unset { key, wanted, evidence: Evidence::Seen }];
    let changes = ledger.follow(&Delta { unset, ..Delta::default() });
    let [deletion] = &changes.deletes[..] else { panic!("{changes:?}") };
    assert_eq!((deletion.id.as_str(), deletion.pod.as_deref()), ("c.9", Some("u")));
    ledger.deleted(&key, &deletion.id);
    assert_eq!(ledger.owned(), 0);
    assert_eq!(ledger.follow(&delta).creates.len(), 1);
}

#[test]
fn before_everything_was_listed_nothing_is_too_much() {
    let mut ledger = Ledger::new(Ownership::default());
    let listing =
        || vec![entry("1", "spiffe://d/1", "k8s:pod-uid:u"), entry("2", "spiffe://d/2", "a:1")];
    let mut plan = Plan::new(Settings::of_test("d"));
    let changes = ledger.compare(listing(), &plan);
    assert!(changes.is_empty());
    assert_eq!(changes.doubtful.len(), 2);
    // No pod of this UID: whatever the rules are, nobody can be given this identity.
    plan.apply(Event::ListBegan(Scope::all(Kind::Pods)));
    plan.apply(Event::ListEnded(Scope::all(Kind::Pods)));
    let changes = ledger.compare(listing(), &plan);
    let ids: Vec<_> = changes.deletes.iter().map(|deletion| deletion.id.as_str()).collect();
    assert_eq!(ids, ["1"]);
    assert_eq!(changes.doubtful.len(), 1);
}
