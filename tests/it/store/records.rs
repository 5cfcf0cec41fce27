//! Entries, bundles, the journal and the change log.

use super::{Disk, create, entry_id, id, memory, new, spec, try_create};
use finial::{
    runtime::{Shutdown, TaskSet},
    server::store::{Change, Changes, Created, EntryError, EntryPatch, NewEntry, Subject},
    spiffe::{EntrySpec, Selector, TrustDomain, dns::DnsName, entry::Hint},
    testing::ca::TestCa,
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// An entry in which no field has its default.
fn full() -> EntrySpec {
    EntrySpec {
        selectors: ["unix:uid:1", "k8s:pod-label:app:\"quoted\"\n"]
            .iter()
            .map(|text| Selector::parse(text).unwrap())
            .collect(),
        x509_svid_ttl_secs: 120,
        jwt_svid_ttl_secs: 60,
        federates_with: vec![TrustDomain::parse("other.org").unwrap()],
        admin: true,
        downstream: true,
        expires_at: 4_000_000_000,
        dns_names: ["b.example", "a.example"].map(|name| DnsName::parse(name).unwrap()).to_vec(),
        hint: Hint::parse("internal").unwrap(),
        disable_x509_svid_prefetch: true,
        jwt_svid_include_jti: true,
        ..spec("/full")
    }
}

#[tokio::test]
async fn everything_comes_back_after_a_restart() {
    let disk = Disk::new();
    let store = disk.open();
    let ca = TestCa::new("other.org", SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000));
    let certificate = ca.authority().certificate().clone();
    let bundle = store.append_x509_authority(ca.trust_domain(), certificate).await.unwrap();
    store.save_ca_journal(b"journal".to_vec()).await.unwrap();
    for path in ["/c", "/a", "/b"] {
        create(&store, spec(path)).await;
    }
    let entry = create(&store, full()).await;
    let updated = store
        .update_entries(vec![(
            entry.id.clone(),
            EntryPatch { admin: Some(false), ..EntryPatch::default() },
        )])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    assert_eq!((updated.revision, updated.created_at), (1, entry.created_at));
    let before = store.entries();
    store.shutdown().await;

    let store = disk.open();
    assert_eq!(store.entries(), before, "in the same order");
    assert_eq!(store.entry(&entry.id).unwrap().spec, EntrySpec { admin: false, ..full() });
    assert_eq!(store.bundles(), [bundle]);
    assert_eq!(store.ca_journal().unwrap(), b"journal");
    assert_eq!(store.entry_count(), 4);
    store.shutdown().await;
}

#[tokio::test]
async fn an_entry_is_similar_by_identity_parent_and_selectors_alone() {
    let store = memory();
    let first = create(&store, spec("/a")).await;
    let with_hint = EntrySpec { hint: Hint::parse("h").unwrap(), ..spec("/a") };
    assert_eq!(
        try_create(&store, new(with_hint)).await.unwrap(),
        Created::Similar(Arc::clone(&first))
    );
    for different in [
        EntrySpec { parent_id: id("/other"), ..spec("/a") },
        EntrySpec { selectors: full().selectors, ..spec("/a") },
    ] {
        create(&store, different).await;
    }
    store.delete_entries(vec![first.id.clone()]).await.unwrap().remove(0).unwrap();
    create(&store, spec("/a")).await;
}

#[tokio::test]
async fn similar_creates_at_once_make_one_entry() {
    let disk = Disk::new();
    let store = disk.open();
    let creates = (0..64).map(|_| {
        let store = store.clone();
        async move { try_create(&store, new(spec("/a"))).await.unwrap() }
    });
    let results = futures_util::future::join_all(creates).await;
    let created = results.iter().filter(|result| matches!(result, Created::New(_))).count();
    assert_eq!((created, store.entry_count()), (1, 1));
    store.shutdown().await;
}

#[tokio::test]
async fn a_batch_has_one_result_per_item_in_order() {
    let store = memory();
    let named = |name: &str, path: &str| NewEntry { id: Some(entry_id(name)), spec: spec(path) };
    let unknown_bundle =
        EntrySpec { federates_with: vec![TrustDomain::parse("other.org").unwrap()], ..spec("/f") };
    let empty = EntrySpec { selectors: [].into_iter().collect(), ..spec("/e") };
    let results = store
        .create_entries(vec![
            named("one", "/1"),
            named("one", "/2"),
            new(unknown_bundle),
            new(empty),
            named("three", "/1"),
            named("four", "/4"),
        ])
        .await
        .unwrap();
    let texts: Vec<_> = results
        .iter()
        .map(|result| match result {
            Ok(Created::New(entry)) => format!("new {}", entry.id),
            Ok(Created::Similar(entry)) => format!("similar {}", entry.id),
            Err(error) => error.to_string(),
        })
        .collect();
    assert_eq!(
        texts,
        [
            "new one",
            "an entry with ID one exists already",
            "unable to find federated bundle \"spiffe://other.org\"",
            "datastore-validation: invalid registration entry: selector list is empty",
            "similar one",
            "new four",
        ]
    );
    let results = store.delete_entries(["four", "no", "one"].map(entry_id).to_vec()).await.unwrap();
    assert!(matches!(results.as_slice(), [Ok(()), Err(EntryError::Unknown(_)), Ok(())]));
    assert_eq!(store.entry_count(), 0);
}

#[tokio::test]
async fn an_update_must_not_repeat_another_entry() {
    let store = memory();
    let (a, b) = (create(&store, spec("/a")).await, create(&store, spec("/b")).await);
    let rename = |to: &str| EntryPatch {
        spiffe_id: Some(id(to)),
        selectors: Some(spec(to).selectors),
        ..EntryPatch::default()
    };
    let update = async |entry_id, patch| {
        store.update_entries(vec![(entry_id, patch)]).await.unwrap().remove(0)
    };
    assert!(matches!(update(b.id.clone(), rename("/a")).await, Err(EntryError::Similar(_))));
    assert_eq!(store.entry(&b.id), Some(Arc::clone(&b)), "nothing of it is kept");
    update(a.id.clone(), rename("/c")).await.unwrap();
    update(b.id.clone(), rename("/a")).await.unwrap();
    assert!(matches!(update(entry_id("unknown"), rename("/z")).await, Err(EntryError::Unknown(_))));
}

#[tokio::test]
async fn ended_entries_and_tokens_are_pruned() {
    let store = memory();
    let ends = |at| EntrySpec { expires_at: at, ..spec(&format!("/{at}")) };
    for at in [1_000, 1_001, 999, 0] {
        create(&store, ends(at)).await;
    }
    store.create_join_token("old".to_owned(), 999, None).await.unwrap();
    store.create_join_token("new".to_owned(), 2_000, None).await.unwrap();
    let pruned = store.prune().await.unwrap();
    assert_eq!((pruned.entries, pruned.tokens), (2, 1));
    let left: Vec<_> = store.entries().iter().map(|entry| entry.spec.expires_at).collect();
    assert_eq!(left, [1_001, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_pruning_task_removes_what_has_ended_within_five_minutes() {
    let store = memory();
    create(&store, EntrySpec { expires_at: 1_001, ..spec("/ends") }).await;
    let (tasks, shutdown) = (TaskSet::new(), Shutdown::new());
    let (pruned, stop) = (store.clone(), shutdown.clone());
    let start = tokio::time::Instant::now();
    tasks.spawn("pruning", async move { pruned.run(stop).await });
    store.sequence().wait_for(|sequence| *sequence == 2).await.unwrap();
    assert_eq!((store.entry_count(), start.elapsed().as_secs()), (0, 300));
    shutdown.request();
    assert_eq!(tasks.finish(Duration::from_secs(5)).await, 0);
}

#[tokio::test]
async fn a_bundle_counts_its_changes_and_never_loses_its_last_authority() {
    let store = memory();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let (old, young) =
        (TestCa::new("example.org", now), TestCa::new("example.org", now + Duration::from_secs(9)));
    let domain = old.trust_domain();
    let append = async |ca: &TestCa| {
        let certificate = ca.authority().certificate().clone();
        store.append_x509_authority(domain, certificate).await.unwrap()
    };
    assert_eq!(append(&old).await.sequence(), 1);
    assert_eq!(append(&old).await.sequence(), 1, "nothing new");
    assert_eq!(append(&young).await.sequence(), 2);
    let end = old.authority().certificate().not_after();
    assert!(store.prune_authorities(domain, end).await.unwrap().is_none(), "valid until then");
    let pruned =
        store.prune_authorities(domain, end + Duration::from_secs(1)).await.unwrap().unwrap();
    assert_eq!((pruned.sequence(), pruned.x509_authorities().len()), (3, 1));
    let far = now + Duration::from_secs(1_000_000_000);
    assert!(store.prune_authorities(domain, far).await.unwrap().is_none());
    assert_eq!(store.bundle(domain), Some(pruned));
}

#[tokio::test]
async fn the_change_log_has_no_gap_and_its_sequence_is_published_after_the_change_is_visible() {
    let disk = Disk::new();
    let store = disk.open();
    let mut sequence = store.sequence();
    let writers = (0..20).map(|writer| {
        let store = store.clone();
        async move {
            for number in 0..5 {
                let entry = create(&store, spec(&format!("/{writer}-{number}"))).await;
                if number == 4 {
                    store.delete_entries(vec![entry.id.clone()]).await.unwrap();
                }
            }
        }
    });
    let follower = async {
        let (mut seen, mut last) = (Vec::new(), 0);
        while last < 120 {
            last = sequence.changed().await.unwrap();
            let known = seen.len() as u64;
            let Changes::Events(events) = store.changes_since(known) else { panic!("too old") };
            assert!(known + events.len() as u64 >= last, "everything published can be read");
            seen.extend(events);
        }
        seen
    };
    let (_, seen) = tokio::join!(futures_util::future::join_all(writers), follower);
    let numbers: Vec<_> = seen.iter().map(|change: &Change| change.sequence).collect();
    assert_eq!(numbers, (1..=120).collect::<Vec<_>>());
    assert!(seen.iter().all(|change| matches!(change.subject, Subject::Entry(_))));
    store.shutdown().await;
}
