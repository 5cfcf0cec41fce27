//! Crashes: the server is stopped at every point where it waits for a durable step, and started again
//! upon what is on disk by then.

use super::world::{BEGIN, HOUR, World, key_file, sign, sign_agent};
use finial::server::ca::{Ca, CaError, KeyStore, Rotation, SignError};
use std::{
    future::{Future, poll_fn},
    path::{Path, PathBuf},
    pin::pin,
    task::Poll,
    time::SystemTime,
};
use tokio::runtime::{Builder, Runtime};

/// What is on disk, and the hour at which it is looked at.
struct Disk {
    directory: tempfile::TempDir,
    ca_ttl_secs: i64,
}

impl Disk {
    fn new(ca_ttl_secs: i64) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), ca_ttl_secs }
    }

    fn key_file(&self) -> PathBuf {
        key_file(self.directory.path())
    }

    fn open(&self, elapsed: i64) -> World {
        World::on_disk(self.directory.path(), self.ca_ttl_secs, elapsed)
    }

    /// Starts the server at an hour and lets it come as far as `polls` turns. Whether that was far enough.
    fn crash_after(&self, polls: usize, elapsed: i64) -> bool {
        let runtime = runtime();
        let is_complete = runtime.block_on(async {
            let world = self.open(elapsed);
            let is_complete = turns(polls, world.start()).await.is_some();
            world.store.shutdown().await;
            is_complete
        });
        // Waits for a key that is being written.
        drop(runtime);
        is_complete
    }

    /// Starts the server at an hour and looks at it.
    fn run<T>(&self, elapsed: i64, look: impl FnOnce(&World, &Ca) -> T) -> T {
        runtime().block_on(async {
            let world = self.open(elapsed);
            let (ca, _rotation): (Ca, Rotation) = world.start().await.unwrap();
            let seen = look(&world, &ca);
            world.store.shutdown().await;
            seen
        })
    }
}

/// With a clock that runs: the writer of a store on disk is a thread of its own.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Polls so many times and then drops the work.
async fn turns<F: Future>(turns: usize, work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    let mut left = turns;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

/// What must hold whenever the server runs: who signs is in the stored bundle.
fn assert_consistent(world: &World, ca: &Ca) {
    let agent = sign_agent(ca).unwrap();
    assert!(world.accepts(&agent), "an agent's certificate verifies with the stored bundle");
    match sign(ca) {
        Ok(chain) => assert!(world.accepts(&chain)),
        Err(SignError::Propagating) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Crashes a start at this hour at every point, each time upon what `before` left, and looks at the next
/// start.
fn crash_everywhere(before: impl Fn() -> Disk, elapsed: i64, look: impl Fn(&World, &Ca)) {
    let mut crashes = 0;
    loop {
        let disk = before();
        let is_complete = disk.crash_after(crashes, elapsed);
        disk.run(elapsed, |world, ca| {
            assert_consistent(world, ca);
            look(world, ca);
        });
        if is_complete {
            break;
        }
        crashes += 1;
    }
    assert!(crashes >= 2, "there must be points to crash at, found {crashes}");
}

fn with_first_authority() -> Disk {
    let disk = Disk::new(24 * HOUR);
    disk.run(0, |_, _| {});
    disk
}

#[test]
fn a_crash_while_the_first_authority_is_made_leaves_one_that_signs() {
    crash_everywhere(
        || Disk::new(24 * HOUR),
        0,
        |world, ca| {
            sign(ca).expect("nobody to wait for");
            assert_eq!(world.bundle().x509_authorities().len(), 1);
        },
    );
}

#[test]
fn a_crash_while_the_next_authority_is_prepared_does_not_disturb_the_active_one() {
    crash_everywhere(with_first_authority, 13 * HOUR, |world, ca| {
        sign(ca).expect("the active one signs");
        let state = ca.state().current();
        assert_eq!(state.active.unwrap().expires_at, BEGIN + 24 * HOUR);
        assert!(state.prepared.unwrap().bundle_sequence.is_some());
        assert_eq!(world.bundle().x509_authorities().len(), 2, "no orphan in the bundle");
    });
}

#[test]
fn a_crash_while_the_next_authority_takes_over_leaves_one_that_signs_and_both_trusted() {
    let prepared = || {
        let disk = with_first_authority();
        disk.run(13 * HOUR, |_, _| {});
        disk
    };
    crash_everywhere(prepared, 21 * HOUR, |world, ca| {
        sign(ca).expect("one of the two signs");
        let state = ca.state().current();
        assert_eq!(state.active.unwrap().expires_at, BEGIN + 37 * HOUR);
        assert_eq!(world.bundle().x509_authorities().len(), 2);
    });
}

#[test]
fn a_crash_while_an_ended_authority_is_replaced_still_publishes_first() {
    crash_everywhere(with_first_authority, 30 * HOUR, |world, ca| {
        assert!(matches!(sign(ca), Err(SignError::Propagating)));
        assert_eq!(world.bundle().x509_authorities().len(), 2);
    });
}

#[test]
fn what_was_signed_before_a_crash_is_trusted_after_it() {
    let disk = with_first_authority();
    let before = disk.run(12 * HOUR, |_, ca| sign(ca).unwrap());
    let hours = [12, 13, 20, 21, 24];
    for hour in hours {
        disk.crash_after(3, hour * HOUR);
        disk.run(hour * HOUR, |world, _| {
            let then: SystemTime = before[0].not_after();
            world.bundle().anchors().verify(&before, then).unwrap();
        });
    }
}

#[test]
fn a_damaged_key_file_stops_the_start_and_mints_nothing() {
    let disk = with_first_authority();
    let whole = std::fs::read(disk.key_file()).unwrap();
    for length in (0..whole.len()).step_by(7) {
        overwrite(&disk.key_file(), &whole[..length]);
        KeyStore::open(&disk.key_file()).unwrap_err();
    }
    overwrite(&disk.key_file(), &whole);
    disk.run(HOUR, |world, ca| {
        assert_eq!(world.bundle().x509_authorities().len(), 1);
        sign(ca).unwrap();
    });
}

/// Keeps the mode of the file.
fn overwrite(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_journal_stops_the_start_and_mints_nothing() {
    let disk = with_first_authority();
    runtime().block_on(async {
        let world = disk.open(HOUR);
        let journal = world.store.ca_journal().unwrap();
        let cut = journal[..journal.len() - 1].to_vec();
        world.store.save_ca_journal(cut).await.unwrap();
        let error = world.start().await.map(|_| ()).unwrap_err();
        assert!(matches!(error, CaError::Journal(_)), "{error}");
        assert_eq!(world.bundle().x509_authorities().len(), 1);
        world.store.shutdown().await;
    });
}
