//! What streams see when entries, SVIDs and bundles change.

use super::*;
use crate::{
    runtime::Clock,
    spiffe::{Bundle, Entry, EntryId, EntrySpec, Selector, SelectorSet, entry::Hint},
    testing::ca::TestCa,
};
use std::{sync::Arc, time::Duration};

struct Fixture {
    ca: TestCa,
    clock: Clock,
    cache: Cache,
    entries: EntryWriter,
    svids: SvidWriter,
}

fn set(selectors: &[&str]) -> SelectorSet {
    selectors.iter().map(|text| Selector::parse(text).unwrap()).collect()
}

impl Fixture {
    fn new(max_svids: usize) -> Self {
        let clock = Clock::anchored_at(std::time::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let ca = TestCa::new("example.org", clock.now());
        let config = CacheConfig {
            trust_domain: ca.trust_domain().clone(),
            clock: clock.clone(),
            max_svids,
        };
        let (cache, entries, svids) = Cache::new(config);
        Self { ca, clock, cache, entries, svids }
    }

    fn entry(&self, id: &str, selectors: &[&str]) -> Entry {
        let spec = EntrySpec {
            spiffe_id: self.ca.trust_domain().member(&format!("/{id}")).unwrap(),
            parent_id: self.ca.trust_domain().member("/node").unwrap(),
            selectors: set(selectors),
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
        };
        Entry { id: EntryId::parse(id).unwrap(), revision: 0, created_at: 1, spec }
    }

    fn apply(&self, kind: UpdateKind, entries: Vec<Entry>, bundles: Vec<Bundle>) {
        let (removed_entries, removed_bundles) = (Vec::new(), Vec::new());
        self.entries.apply(Update { kind, entries, removed_entries, bundles, removed_bundles });
    }

    /// Signs everything that is due, as the renewal task would, and names it.
    fn sign_due(&self, life: Duration) -> Vec<String> {
        let mut names = Vec::new();
        for entry in self.svids.take_due(BatchSize::uniform(100)) {
            names.push(entry.id.to_string());
            let svid = self.ca.svid(&entry.spec.spiffe_id, life);
            let now = self.clock.now();
            let own = self.cache.own_bundle().unwrap();
            let signed = Signed::verify(entry, svid, now + life / 2, &own, now).unwrap();
            assert_eq!(self.svids.install(vec![signed]), []);
        }
        names.sort();
        names
    }
}

fn served(view: &View) -> Vec<String> {
    view.identities.iter().map(|identity| identity.svid.id().to_string()).collect()
}

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(start_paused = true)]
async fn a_waiting_subscription_gets_its_identity_when_the_entry_and_its_svid_arrive() {
    let f = Fixture::new(0);
    let mut waiting = f.cache.subscribe(&set(&["unix:uid:7", "unix:gid:7"]));
    assert!(!waiting.current().is_synced);
    f.apply(UpdateKind::Snapshot, vec![f.entry("w", &["unix:uid:7"])], vec![f.ca.bundle(1, &[])]);
    let view = waiting.changed().await.unwrap();
    assert!(view.is_synced && view.identities.is_empty());
    assert_eq!(view.pending, 1);
    assert_eq!(f.sign_due(HOUR), ["w"]);
    let view = waiting.changed().await.unwrap();
    assert_eq!(served(&view), ["spiffe://example.org/w"]);
    assert_eq!(view.pending, 0);
}

#[tokio::test(start_paused = true)]
async fn an_entry_with_a_selector_that_the_caller_lacks_is_not_served() {
    let f = Fixture::new(100);
    let other = f.entry("other", &["unix:uid:7", "unix:gid:8"]);
    f.apply(UpdateKind::Snapshot, vec![other], vec![f.ca.bundle(1, &[])]);
    f.sign_due(HOUR);
    let mut subscription = f.cache.subscribe(&set(&["unix:uid:7", "unix:gid:7"]));
    assert_eq!(served(&subscription.current()), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_unrelated_change_wakes_nobody() {
    let f = Fixture::new(100);
    f.apply(UpdateKind::Snapshot, vec![f.entry("a", &["unix:uid:1"])], vec![f.ca.bundle(1, &[])]);
    f.sign_due(HOUR);
    let mut subscription = f.cache.subscribe(&set(&["unix:uid:1"]));
    let before = subscription.current();
    f.apply(UpdateKind::Delta, vec![f.entry("b", &["unix:uid:2"])], vec![f.ca.bundle(1, &[])]);
    f.sign_due(HOUR);
    assert!(Arc::ptr_eq(&before, &subscription.current()));
}

#[tokio::test(start_paused = true)]
async fn svids_are_made_ahead_only_as_far_as_there_is_room_and_always_for_present_workloads() {
    let f = Fixture::new(1);
    let entries = vec![f.entry("a", &["unix:uid:1"]), f.entry("b", &["unix:uid:2"])];
    f.apply(UpdateKind::Snapshot, entries, vec![f.ca.bundle(1, &[])]);
    let ahead = f.sign_due(HOUR);
    assert_eq!(ahead.len(), 1);
    let _a = f.cache.subscribe(&set(&["unix:uid:1"]));
    let _b = f.cache.subscribe(&set(&["unix:uid:2"]));
    assert_eq!(f.sign_due(HOUR).len(), 1);
    assert_eq!(f.cache.svid_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_due_once_at_its_time() {
    let f = Fixture::new(100);
    f.apply(UpdateKind::Snapshot, vec![f.entry("a", &["unix:uid:1"])], vec![f.ca.bundle(1, &[])]);
    f.sign_due(HOUR);
    assert_eq!(f.svids.next_due(), Some(f.clock.now() + HOUR / 2));
    tokio::time::advance(HOUR / 2 - Duration::from_secs(1)).await;
    assert!(f.svids.take_due(BatchSize::uniform(9)).is_empty());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(f.svids.take_due(BatchSize::uniform(9)).len(), 1);
    assert!(f.svids.take_due(BatchSize::uniform(9)).is_empty(), "it is in the signer's hands");
}

#[tokio::test(start_paused = true)]
async fn a_failed_entry_is_retried_later_and_keeps_its_last_svid() {
    let f = Fixture::new(100);
    f.apply(UpdateKind::Snapshot, vec![f.entry("a", &["unix:uid:1"])], vec![f.ca.bundle(1, &[])]);
    f.sign_due(HOUR);
    tokio::time::advance(HOUR / 2).await;
    let due = f.svids.take_due(BatchSize::uniform(9));
    f.svids.failed(&due[0].id);
    assert!(f.svids.take_due(BatchSize::uniform(9)).is_empty());
    assert!(f.svids.next_due().unwrap() <= f.clock.now() + Duration::from_secs(1));
    assert_eq!(f.cache.svid_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_svid_whose_authority_left_the_bundle_is_withdrawn_and_signed_anew() {
    let f = Fixture::new(100);
    f.apply(UpdateKind::Snapshot, vec![f.entry("a", &["unix:uid:1"])], vec![f.ca.bundle(1, &[])]);
    f.sign_due(HOUR);
    let mut subscription = f.cache.subscribe(&set(&["unix:uid:1"]));
    assert_eq!(served(&subscription.current()).len(), 1);
    let successor = TestCa::new("example.org", f.clock.now());
    f.apply(UpdateKind::Delta, Vec::new(), vec![successor.bundle(2, &[])]);
    assert_eq!(served(&subscription.changed().await.unwrap()).len(), 0);
    assert_eq!(f.svids.take_due(BatchSize::uniform(9)).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_authority_in_the_bundle_disturbs_no_svid() {
    let f = Fixture::new(100);
    f.apply(UpdateKind::Snapshot, vec![f.entry("a", &["unix:uid:1"])], vec![f.ca.bundle(1, &[])]);
    f.sign_due(HOUR);
    let mut subscription = f.cache.subscribe(&set(&["unix:uid:1"]));
    let successor = TestCa::new("example.org", f.clock.now());
    f.apply(UpdateKind::Delta, Vec::new(), vec![f.ca.bundle(2, &[&successor])]);
    let view = subscription.current();
    assert_eq!(served(&view).len(), 1);
    assert_eq!(view.bundles.own.as_ref().unwrap().x509_authorities().len(), 2);
    assert!(f.svids.take_due(BatchSize::uniform(9)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_removes_what_it_does_not_list() {
    let f = Fixture::new(100);
    let entries = vec![f.entry("a", &["unix:uid:1"]), f.entry("b", &["unix:uid:1"])];
    f.apply(UpdateKind::Snapshot, entries, vec![f.ca.bundle(1, &[])]);
    f.sign_due(HOUR);
    let mut subscription = f.cache.subscribe(&set(&["unix:uid:1"]));
    assert_eq!(served(&subscription.current()).len(), 2);
    f.apply(UpdateKind::Snapshot, vec![f.entry("b", &["unix:uid:1"])], Vec::new());
    assert_eq!(served(&subscription.changed().await.unwrap()), ["spiffe://example.org/b"]);
}

#[tokio::test(start_paused = true)]
async fn changed_selectors_move_an_entry_between_callers_and_keep_its_svid() {
    let f = Fixture::new(0);
    let mut one = f.cache.subscribe(&set(&["unix:uid:1", "unix:gid:9"]));
    let mut two = f.cache.subscribe(&set(&["unix:uid:2", "unix:gid:9"]));
    f.apply(UpdateKind::Snapshot, vec![f.entry("a", &["unix:uid:1"])], vec![f.ca.bundle(1, &[])]);
    f.sign_due(HOUR);
    let mut moved = f.entry("a", &["unix:gid:9"]);
    moved.revision = 1;
    f.apply(UpdateKind::Delta, vec![moved], Vec::new());
    assert_eq!(served(&one.current()).len(), 1);
    assert_eq!(served(&two.current()).len(), 1);
    let mut moved = f.entry("a", &["unix:uid:2"]);
    moved.revision = 2;
    f.apply(UpdateKind::Delta, vec![moved], Vec::new());
    assert_eq!(served(&one.current()).len(), 0);
    assert_eq!(served(&two.current()).len(), 1);
    assert!(
        f.svids.take_due(BatchSize::uniform(9)).is_empty(),
        "nothing that is signed has changed"
    );
}

#[tokio::test(start_paused = true)]
async fn the_default_identity_is_the_hinted_one_then_the_oldest() {
    let f = Fixture::new(100);
    let (mut young, mut old, mut hinted) = (
        f.entry("a", &["unix:uid:1"]),
        f.entry("b", &["unix:uid:1"]),
        f.entry("c", &["unix:uid:1"]),
    );
    (young.created_at, old.created_at, hinted.created_at) = (30, 10, 40);
    hinted.spec.hint = Hint::parse("default").unwrap();
    f.apply(UpdateKind::Snapshot, vec![young, old, hinted], vec![f.ca.bundle(1, &[])]);
    f.sign_due(HOUR);
    let order = served(&f.cache.subscribe(&set(&["unix:uid:1"])).current());
    assert_eq!(order, ["c", "b", "a"].map(|name| format!("spiffe://example.org/{name}")));
}

#[tokio::test(start_paused = true)]
async fn an_expired_svid_is_in_no_view() {
    let f = Fixture::new(100);
    f.apply(UpdateKind::Snapshot, vec![f.entry("a", &["unix:uid:1"])], vec![f.ca.bundle(1, &[])]);
    f.sign_due(HOUR);
    tokio::time::advance(HOUR + Duration::from_secs(2)).await;
    let view = f.cache.subscribe(&set(&["unix:uid:1"])).current();
    assert_eq!(served(&view).len(), 0);
    assert_eq!(view.pending, 1);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_was_deleted_and_made_again_under_its_id_is_signed_again() {
    let f = Fixture::new(100);
    f.apply(UpdateKind::Snapshot, vec![f.entry("a", &["unix:uid:1"])], vec![f.ca.bundle(1, &[])]);
    f.sign_due(HOUR);
    let mut again = f.entry("a", &["unix:uid:1"]);
    again.created_at = 2;
    f.apply(UpdateKind::Delta, vec![again], Vec::new());
    assert_eq!(f.sign_due(HOUR), ["a"]);
}
