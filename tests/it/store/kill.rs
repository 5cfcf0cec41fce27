//! A kill at any instant loses no acknowledged write and brings no deleted entry back (F-02).

use super::{Disk, new, spec};
use finial::{
    runtime::{Clock, TaskSet},
    server::store::{Created, EntryPatch, Store, StoreConfig},
    spiffe::EntryId,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// The child works in its current directory, and only where this file says so.
const PERMISSION: &str = "child-of-kill-test";

/// Says on stdout what is about to be deleted and what was acknowledged.
fn say(word: &str, id: &EntryId, revision: i64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n@{word} {id} {revision}").unwrap();
    out.flush().unwrap();
}

/// Writes until it is killed. Not a test of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child process of the test below"]
async fn child() {
    if !Path::new(PERMISSION).exists() {
        return;
    }
    let config = StoreConfig::Sqlite("datastore.sqlite3".into());
    let store = Store::open(&config, Clock::system()).unwrap();
    let tasks = TaskSet::new();
    for _ in 0..6 {
        tasks.spawn("writer", write_forever(store.clone()));
    }
    tasks.finish(Duration::from_secs(60)).await;
}

async fn write_forever(store: Store) {
    loop {
        let batch = (0..4).map(|_| new(spec(&format!("/{}", uuid::Uuid::new_v4()))));
        let mut ids = Vec::new();
        for created in store.create_entries(batch.collect()).await.unwrap() {
            let Ok(Created::New(entry)) = created else { panic!("{created:?}") };
            say("created", &entry.id, 0);
            ids.push(entry.id.clone());
        }
        let admin = EntryPatch { admin: Some(true), ..EntryPatch::default() };
        let updates = ids.iter().take(2).map(|id| (id.clone(), admin.clone())).collect();
        for updated in store.update_entries(updates).await.unwrap() {
            let entry = updated.unwrap();
            say("updated", &entry.id, entry.revision);
        }
        say("deleting", &ids[0], 0);
        store.delete_entries(vec![ids[0].clone()]).await.unwrap().remove(0).unwrap();
        say("deleted", &ids[0], 0);
    }
}

/// What the children have said so far.
#[derive(Default)]
struct Said {
    created: BTreeMap<String, i64>,
    deleting: BTreeSet<String>,
    deleted: BTreeSet<String>,
}

impl Said {
    fn hear(&mut self, line: &str) -> bool {
        let Some(line) = line.strip_prefix('@') else { return false };
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (what, id, revision) = (word(), word(), word());
        match (what.as_str(), revision.parse()) {
            ("created" | "updated", Ok(revision)) => drop(self.created.insert(id, revision)),
            ("deleting", Ok(_)) => drop(self.deleting.insert(id)),
            ("deleted", Ok(_)) => drop(self.deleted.insert(id)),
            // The line at which it was killed.
            _ => return false,
        }
        true
    }

    fn check(&self, store: &Store) {
        for (id, revision) in &self.created {
            let entry = store.entry(&EntryId::parse(id).unwrap());
            if self.deleted.contains(id) {
                assert!(entry.is_none(), "{id} came back");
            } else if let Some(entry) = entry {
                assert!(entry.revision >= *revision, "{id} lost an update");
                assert_eq!(entry.spec.admin, entry.revision > 0);
            } else {
                assert!(self.deleting.contains(id), "{id} is lost");
            }
        }
    }
}

#[tokio::test]
async fn a_kill_at_any_instant_loses_nothing_that_was_acknowledged() {
    let disk = Disk::new();
    let directory = disk.path().parent().unwrap().to_owned();
    std::fs::write(directory.join(PERMISSION), b"").unwrap();
    let mut said = Said::default();
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["store::kill::child", "--exact", "--ignored", "--nocapture"])
            .current_dir(&directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // A different number of acknowledgements each time: the writer is wherever it is then.
        let before = said.created.len();
        let heard = lines.by_ref().filter(|line| said.hear(line)).take(7 + 41 * round).count();
        assert_eq!(heard, 7 + 41 * round, "the child works: {}", said.created.len());
        child.kill().unwrap();
        let _heard_after_the_kill = lines.filter(|line| said.hear(line)).count();
        child.wait().unwrap();
        assert!(said.created.len() > before);

        let store = disk.open();
        said.check(&store);
        store.shutdown().await;
    }
}
