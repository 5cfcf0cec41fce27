//! Which files the store opens, and which it refuses with what advice (F-15, F-36).

use super::{Disk, create, id, spec};
use finial::{
    runtime::Clock,
    server::store::{Node, Store, StoreError},
    spiffe::SelectorSet,
    testing::ca::TestCa,
};
use std::{fs, os::unix::fs::PermissionsExt, time::SystemTime};

/// Opens a database that must be refused, and must be afterwards what it was before.
fn refusal(disk: &Disk) -> StoreError {
    let before = fs::read(disk.path()).ok();
    let Err(error) = Store::open(&disk.config(), Clock::system()) else { panic!("it opened") };
    assert_eq!(fs::read(disk.path()).ok(), before, "{error}");
    error
}

/// A database with 200 entries, closed.
async fn filled() -> Disk {
    let disk = Disk::new();
    let store = disk.open();
    for number in 0..200 {
        create(&store, spec(&format!("/{number}"))).await;
    }
    store.shutdown().await;
    disk
}

#[tokio::test]
async fn a_second_server_is_refused_and_the_first_goes_on() {
    let disk = Disk::new();
    let first = disk.open();
    let error = refusal(&disk);
    assert!(matches!(&error, StoreError::InUse { holder, .. }
        if *holder == std::process::id().to_string()));
    assert!(error.to_string().contains("connection_string"), "{error}");
    let by_another_name = Disk::new();
    std::os::unix::fs::symlink(disk.path(), by_another_name.path()).unwrap();
    assert!(matches!(refusal(&by_another_name), StoreError::InUse { .. }));
    create(&first, spec("/w")).await;
    first.shutdown().await;
    let second = disk.open();
    assert_eq!(second.entry_count(), 1);
    second.shutdown().await;
}

#[tokio::test]
async fn a_new_database_is_private_and_a_closed_one_is_a_single_file() {
    let disk = Disk::new();
    let store = disk.open();
    let mode = fs::metadata(disk.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    create(&store, spec("/w")).await;
    store.shutdown().await;
    store.shutdown().await;
    let late = store.save_ca_journal(Vec::new()).await;
    assert!(matches!(late, Err(StoreError::Closed)));
    let mut files: Vec<_> = fs::read_dir(disk.path().parent().unwrap())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, ["datastore.sqlite3", "datastore.sqlite3.lock"]);
}

#[tokio::test]
async fn an_unfinished_new_database_is_made_again() {
    let disk = Disk::new();
    for left_over in ["datastore.sqlite3.new", "datastore.sqlite3.new-journal"] {
        fs::write(disk.path().with_file_name(left_over), b"half").unwrap();
    }
    let store = disk.open();
    create(&store, spec("/w")).await;
    store.shutdown().await;
    assert!(!disk.path().with_file_name("datastore.sqlite3.new").exists());
}

#[test]
fn an_empty_file_is_refused() {
    let disk = Disk::new();
    fs::write(disk.path(), b"").unwrap();
    let error = refusal(&disk);
    assert!(matches!(error, StoreError::Empty { .. }));
    assert!(error.to_string().contains("restore it from a backup"), "{error}");
}

#[test]
fn a_log_without_its_database_is_refused() {
    let disk = Disk::new();
    fs::write(disk.path().with_file_name("datastore.sqlite3-wal"), b"frames").unwrap();
    assert!(matches!(refusal(&disk), StoreError::Orphaned { .. }));
    assert!(!disk.path().exists());
}

#[tokio::test]
async fn damage_is_found_at_the_start() {
    for (what, harm) in [
        ("garbage", (|bytes| bytes.fill(0x41)) as fn(&mut Vec<u8>)),
        ("cut within a page", |bytes| bytes.truncate(5_000)),
        ("cut after half of the pages", |bytes| bytes.truncate(bytes.len() / 2 / 4096 * 4096)),
        ("zeroed page header", |bytes| bytes[8192..8200].fill(0)),
        ("flipped cell pointers", |bytes| bytes[4096 + 8..4096 + 24].fill(0xff)),
        ("cut to its header", |bytes| bytes.truncate(100)),
    ] {
        let disk = filled().await;
        let mut bytes = fs::read(disk.path()).unwrap();
        harm(&mut bytes);
        fs::write(disk.path(), bytes).unwrap();
        let error = refusal(&disk);
        assert!(matches!(error, StoreError::Damaged { .. }), "{what}: {error:?}");
        assert!(error.to_string().contains(".recover"), "{what}: {error}");
    }
}

#[tokio::test]
async fn databases_of_others_and_of_the_future_are_refused() {
    let disk = Disk::new();
    disk.sqlite().execute_batch("CREATE TABLE registered_entries (id)").unwrap();
    let error = refusal(&disk);
    assert!(matches!(error, StoreError::Foreign { what: "a datastore of SPIRE", .. }), "{error}");

    let disk = Disk::new();
    disk.sqlite().execute_batch("CREATE TABLE photographs (id)").unwrap();
    assert!(matches!(refusal(&disk), StoreError::Foreign { .. }));

    let disk = filled().await;
    disk.sqlite().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(refusal(&disk), StoreError::Newer { found: 99, .. }));
}

#[tokio::test]
async fn another_journal_mode_is_put_right() {
    let disk = filled().await;
    disk.sqlite().pragma_update(None, "journal_mode", "DELETE").unwrap();
    let store = disk.open();
    create(&store, spec("/w")).await;
    let mode: String =
        disk.sqlite().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!((mode.as_str(), store.entry_count()), ("wal", 201));
    store.shutdown().await;
}

#[tokio::test]
async fn a_backup_of_a_running_store_can_be_opened() {
    let disk = Disk::new();
    let store = disk.open();
    create(&store, spec("/w")).await;
    let backup = Disk::new();
    disk.sqlite().execute("VACUUM INTO ?", [backup.path().to_str().unwrap()]).unwrap();
    let copy = backup.open();
    assert_eq!(copy.entries(), store.entries());
    copy.shutdown().await;
    store.shutdown().await;
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let disk = Disk::new();
    fs::remove_dir(disk.path().parent().unwrap()).unwrap();
    let error = refusal(&disk);
    assert!(matches!(&error, StoreError::File { path, .. }
        if path.starts_with(disk.path().parent().unwrap())));
}

#[tokio::test]
async fn broken_rows_are_left_out_and_everything_else_works() {
    let disk = filled().await;
    let sqlite = disk.sqlite();
    for harm in [
        "UPDATE entries SET spiffe_id = 'nonsense' WHERE row = 1",
        "UPDATE entries SET selectors = '[\"nocolon\"]' WHERE row = 2",
        "UPDATE entries SET selectors = 'not json' WHERE row = 3",
        "UPDATE entries SET selectors = '[]' WHERE row = 4",
        "UPDATE entries SET id = 'bad id!' WHERE row = 5",
        "UPDATE entries SET x509_svid_ttl = -1 WHERE row = 6",
        "UPDATE entries SET id = x'ff' WHERE row = 7",
        "INSERT INTO nodes VALUES (1, 'nonsense', '', '', '', 0, 0, 0, 0, NULL, '')",
        "INSERT INTO bundles VALUES ('NOT A DOMAIN', 1, 0)",
    ] {
        // Rows may be refused by the schema too.
        let _refused = sqlite.execute(harm, []).is_err();
    }
    let store = disk.open();
    assert!((193..=194).contains(&store.entry_count()), "{}", store.entry_count());
    assert!(store.nodes().is_empty() && store.bundles().is_empty());
    create(&store, spec("/0")).await;
    store.shutdown().await;
}

#[tokio::test]
async fn a_broken_bundle_stops_the_server() {
    let disk = Disk::new();
    let store = disk.open();
    let ca = TestCa::new("example.org", SystemTime::UNIX_EPOCH);
    let certificate = ca.authority().certificate().clone();
    store.append_x509_authority(ca.trust_domain(), certificate).await.unwrap();
    store.shutdown().await;
    disk.sqlite().execute("UPDATE x509_authorities SET certificate = x'00'", []).unwrap();
    assert!(matches!(refusal(&disk), StoreError::DamagedBundle { .. }));
}

#[tokio::test]
async fn nodes_come_back_after_a_restart() {
    let disk = Disk::new();
    let store = disk.open();
    let node = Node {
        id: id("/spire/agent/x"),
        attestation_type: "join_token".to_owned(),
        serial: "1".to_owned(),
        new_serial: "2".to_owned(),
        expires_at: 3,
        new_expires_at: 4,
        banned: false,
        can_reattest: true,
        selectors: SelectorSet::default(),
        agent_version: "5".to_owned(),
    };
    store.attest_node(node.clone(), None).await.unwrap();
    store.shutdown().await;
    let store = disk.open();
    assert_eq!(*store.node(&node.id).unwrap(), node);
    store.shutdown().await;
}
