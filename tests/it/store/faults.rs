//! A database that refuses, and one that somebody else holds (F-13, F-14).

use super::{Disk, create, id, new, spec, try_create};
use finial::{
    runtime::Clock,
    server::store::{AttestError, Created, EntryError, Node, StoreConfig, StoreError, TokenError},
    spiffe::{EntrySpec, SelectorSet},
    testing::ca::TestCa,
    transport::status::Kind,
};
use std::time::SystemTime;

fn node(path: &str) -> Node {
    Node {
        id: id(path),
        attestation_type: "join_token".to_owned(),
        serial: "1".to_owned(),
        new_serial: String::new(),
        expires_at: i64::MAX,
        new_expires_at: 0,
        banned: false,
        can_reattest: false,
        selectors: SelectorSet::default(),
        agent_version: String::new(),
    }
}

#[tokio::test]
async fn an_entry_that_the_database_refuses_fails_alone_and_leaves_nothing() {
    let disk = Disk::new();
    let store = disk.open();
    // AFTER: the row is in the table when the statement fails.
    disk.sqlite()
        .execute_batch(
            "CREATE TRIGGER refuse AFTER INSERT ON entries WHEN NEW.spiffe_id LIKE '%/bad%' \
             BEGIN SELECT RAISE(FAIL, 'refused'); END",
        )
        .unwrap();
    let batch = ["/a", "/bad", "/b", "/bad2", "/c"].map(|path| new(spec(path))).to_vec();
    let results = store.create_entries(batch).await.unwrap();
    let is_new: Vec<_> =
        results.iter().map(|result| matches!(result, Ok(Created::New(_)))).collect();
    assert_eq!(is_new, [true, false, true, false, true]);
    let Err(error) = &results[1] else { panic!("it was created") };
    assert_eq!(error.kind(), Kind::Internal);
    assert!(error.to_string().contains("refused"), "{error}");
    store.shutdown().await;
    assert_eq!(disk.open().entry_count(), 3);
}

#[tokio::test]
async fn a_rollback_of_the_whole_transaction_fails_all_that_is_in_it_and_nothing_later() {
    let disk = Disk::new();
    let store = disk.open();
    disk.sqlite()
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON entries WHEN NEW.spiffe_id LIKE '%/bad' \
             BEGIN SELECT RAISE(ROLLBACK, 'refused'); END",
        )
        .unwrap();
    let batch = ["/a", "/bad", "/b"].map(|path| new(spec(path))).to_vec();
    let failed = store.create_entries(batch).await;
    assert!(matches!(failed, Err(StoreError::RolledBack)), "{failed:?}");
    assert_eq!((store.entry_count(), store.sequence().current()), (0, 0));
    create(&store, spec("/a")).await;
    store.shutdown().await;
    assert_eq!(disk.open().entry_count(), 1);
}

#[tokio::test]
async fn every_table_may_refuse_without_a_half_applied_state() {
    let disk = Disk::new();
    let store = disk.open();
    let agent = id("/spire/agent/x");
    store.attest_node(node("/spire/agent/x"), None).await.unwrap();
    store.create_join_token("t".to_owned(), i64::MAX, None).await.unwrap();
    let ca = TestCa::new("example.org", SystemTime::UNIX_EPOCH);
    let certificate = ca.authority().certificate().clone();
    let sqlite = disk.sqlite();
    for (table, operation) in [
        ("entries", "INSERT"),
        ("entries", "DELETE"),
        ("nodes", "INSERT"),
        ("nodes", "DELETE"),
        ("x509_authorities", "INSERT"),
        ("ca_journal", "INSERT"),
    ] {
        sqlite
            .execute_batch(&format!(
                "CREATE TRIGGER {table}_{operation} AFTER {operation} ON {table} \
                 BEGIN SELECT RAISE(FAIL, 'refused'); END"
            ))
            .unwrap();
    }
    let before = store.sequence().current();
    let refused = |error: &StoreError| matches!(error, StoreError::Sqlite(_));

    // The token and its alias, the token and its node: both or none.
    let token = store.create_join_token("u".to_owned(), i64::MAX, Some(spec("/alias"))).await;
    assert!(matches!(&token, Err(TokenError::Alias(EntryError::Store(e))) if refused(e)));
    let attested = store.attest_node(node("/spire/agent/y"), Some("t".to_owned())).await;
    assert!(matches!(&attested, Err(AttestError::Store(e)) if refused(e)));
    assert!(refused(&store.set_new_serial(&agent, "2".to_owned(), 5).await.unwrap_err()));
    assert!(refused(&store.delete_node(&agent).await.unwrap_err()));
    let appended = store.append_x509_authority(ca.trust_domain(), certificate.clone()).await;
    assert!(refused(&appended.unwrap_err()));
    assert!(refused(&store.save_ca_journal(vec![1]).await.unwrap_err()));

    assert_eq!(store.sequence().current(), before);
    assert!(store.entries().is_empty() && store.bundles().is_empty());
    assert_eq!((store.nodes().len(), store.ca_journal()), (1, None));
    let tokens: Vec<String> = sqlite
        .prepare("SELECT token FROM join_tokens")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(tokens, ["t"], "neither made nor used up");
    let bundles: i64 =
        sqlite.query_row("SELECT count(*) FROM bundles", [], |row| row.get(0)).unwrap();
    assert_eq!(bundles, 0);

    for trigger in ["nodes_INSERT", "x509_authorities_INSERT"] {
        sqlite.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
    }
    store.attest_node(node("/spire/agent/y"), Some("t".to_owned())).await.unwrap();
    store.append_x509_authority(ca.trust_domain(), certificate).await.unwrap();
    store.shutdown().await;
}

#[tokio::test]
async fn a_write_waits_for_whoever_holds_the_database_and_reads_go_on() {
    let disk = Disk::new();
    let store = disk.open();
    let entry = create(&store, spec("/a")).await;
    let other = disk.sqlite();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let write = create(&store, spec("/b"));
    tokio::pin!(write);
    assert!(futures_util::poll!(&mut write).is_pending());
    assert_eq!(store.entry(&entry.id), Some(entry));
    other.execute_batch("COMMIT").unwrap();
    write.await;
    store.shutdown().await;
}

#[tokio::test]
async fn a_database_that_stays_locked_makes_writes_unavailable_until_it_is_free() {
    let disk = Disk::new();
    let store = disk.open();
    let other = disk.sqlite();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let (first, second) =
        tokio::join!(store.create_entries(vec![new(spec("/a"))]), store.save_ca_journal(vec![1]));
    let (first, second) = (first.unwrap_err(), second.unwrap_err());
    assert!(matches!((&first, &second), (StoreError::Locked, StoreError::Locked)));
    assert_eq!(first.kind(), Kind::Unavailable);
    assert_eq!(store.entry_count(), 0);
    other.execute_batch("ROLLBACK").unwrap();
    create(&store, spec("/a")).await;
    store.shutdown().await;
}

#[tokio::test]
async fn a_write_whose_caller_went_away_still_happens_whole() {
    let disk = Disk::new();
    let store = disk.open();
    let other = disk.sqlite();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    {
        let write = store.create_entries(vec![new(spec("/a")), new(spec("/b"))]);
        tokio::pin!(write);
        assert!(futures_util::poll!(&mut write).is_pending());
    }
    other.execute_batch("COMMIT").unwrap();
    let similar = try_create(&store, new(spec("/a"))).await.unwrap();
    assert!(matches!(similar, Created::Similar(_)));
    assert_eq!(store.entry_count(), 2);
    store.shutdown().await;
}

#[tokio::test]
async fn a_store_in_memory_works_and_ends_alike() {
    let store = finial::server::store::Store::open(&StoreConfig::Memory, Clock::system()).unwrap();
    create(&store, EntrySpec { admin: true, ..spec("/a") }).await;
    store.shutdown().await;
    let late = store.create_entries(vec![new(spec("/b"))]).await;
    assert!(matches!(late, Err(StoreError::Closed)));
    assert_eq!(store.entry_count(), 1, "reads go on");
}
