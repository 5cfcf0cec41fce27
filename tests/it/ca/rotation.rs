//! The rotation on a paused clock: each instant, the order of what happens, and who is waited for.

use super::world::{BEGIN, HOUR, World, sign, sign_agent};
use finial::{
    runtime::{Reader, Shutdown, TaskSet},
    server::ca::{Ca, CaState, Rotation, SignError, Watchers, propagation},
    x509::Certificate,
};
use std::{
    future::{Future, poll_fn},
    pin::pin,
    time::Duration,
};

/// What a test waits for.
type Reached = fn(&CaState) -> bool;

/// An authority with its rotation task running.
struct Running {
    world: World,
    ca: Ca,
    state: Reader<CaState>,
    watchers: Watchers,
    shutdown: Shutdown,
    tasks: TaskSet,
}

impl Running {
    async fn start(world: World) -> Self {
        let (watchers, propagation) = propagation::propagation();
        let (ca, rotation) = world.start_with(propagation).await.unwrap();
        let (shutdown, tasks) = (Shutdown::new(), TaskSet::new());
        let state = ca.state();
        tasks.spawn("rotation", rotation_task(rotation, shutdown.clone()));
        Self { world, ca, state, watchers, shutdown, tasks }
    }

    /// Waits for the state and says after how many seconds it came.
    async fn when(&mut self, accept: impl Fn(&CaState) -> bool + Send) -> (CaState, i64) {
        let state = self.state.wait_for(accept).await.unwrap();
        (state, self.world.elapsed())
    }

    async fn when_published(&mut self) -> (CaState, i64) {
        self.when(is_published).await
    }

    async fn when_rotated(&mut self, times: u64) -> (CaState, i64) {
        self.when(|state| state.rotations == times).await
    }

    async fn stop(self) {
        self.shutdown.request();
        // Without a timer, which the paused clock would let run out while a key is being made.
        while !self.tasks.is_empty() {
            tokio::task::yield_now().await;
        }
    }
}

async fn rotation_task(rotation: Rotation, shutdown: Shutdown) {
    rotation.run(shutdown).await;
}

async fn advance(secs: i64) {
    tokio::time::sleep(Duration::from_secs(secs.unsigned_abs())).await;
}

fn signer(chain: &[Certificate]) -> Vec<u8> {
    chain[0].extensions().authority_key_id.clone().unwrap()
}

fn is_published(state: &CaState) -> bool {
    state.prepared.as_ref().is_some_and(|prepared| prepared.bundle_sequence.is_some())
}

fn active_id(state: &CaState) -> String {
    state.active.as_ref().unwrap().id.to_string()
}

fn prepared_id(state: &CaState) -> String {
    state.prepared.as_ref().unwrap().id.to_string()
}

#[tokio::test(start_paused = true)]
async fn the_first_authority_signs_at_once() {
    let world = World::new(24 * HOUR);
    let (ca, _rotation) = world.start().await.unwrap();
    assert!(world.accepts(&sign(&ca).unwrap()));
    let state = ca.state().current();
    assert_eq!(state.active.unwrap().expires_at, BEGIN + 24 * HOUR);
    assert_eq!((state.prepared, state.rotations), (None, 0));
    assert_eq!((world.elapsed(), world.bundle().sequence()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn authorities_follow_each_other_at_spires_hours_and_leave_the_bundle_a_day_after_their_end()
{
    let mut running = Running::start(World::new(24 * HOUR)).await;
    let first = active_id(&running.state.current());
    let by_first = sign(&running.ca).unwrap();

    let (published, at) = running.when_published().await;
    assert_eq!(at, 12 * HOUR);
    assert_eq!(active_id(&published), first, "published, but the first one signs");
    assert_eq!(running.world.bundle().x509_authorities().len(), 2);
    assert_eq!(running.world.bundle().sequence(), 2);
    assert_eq!(signer(&sign(&running.ca).unwrap()), signer(&by_first));
    let second = prepared_id(&published);

    let (rotated, at) = running.when_rotated(1).await;
    assert_eq!(at, 20 * HOUR);
    assert_eq!((active_id(&rotated), rotated.prepared), (second, None));
    let by_second = sign(&running.ca).unwrap();
    assert_ne!(signer(&by_second), signer(&by_first));
    assert!(running.world.accepts(&by_second));

    let (_, at) = running.when_rotated(2).await;
    assert_eq!(at, 32 * HOUR);
    assert_eq!(running.world.bundle().x509_authorities().len(), 3, "the first ended at 24 h");
    advance(16 * HOUR - 1).await;
    let is_held = |running: &Running| {
        let bundle = running.world.bundle();
        let mut held = bundle.x509_authorities().iter();
        held.any(|a| a.certificate.expires_at() == BEGIN + 24 * HOUR)
    };
    assert!(is_held(&running), "until 24 h after its end");
    advance(6 * HOUR + 2).await;
    assert!(!is_held(&running), "the next look, 6 h later at most, drops it");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_lags_is_waited_for_until_it_acknowledges() {
    let mut running = Running::start(World::new(24 * HOUR)).await;
    let mut agent = running.watchers.join();
    agent.serves(1);
    let (published, _) = running.when_published().await;
    let sequence = published.prepared.unwrap().bundle_sequence.unwrap();
    advance(8 * HOUR + 3).await;
    assert_eq!(running.state.current().rotations, 0, "due for 3 s, but the agent is behind");
    agent.serves(sequence);
    let (_, at) = running.when_rotated(1).await;
    assert_eq!(at, 20 * HOUR + 3, "with the acknowledgement, not by a timer");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_never_acknowledges_delays_for_the_propagation_time_only() {
    let mut running = Running::start(World::new(24 * HOUR)).await;
    let _agent = running.watchers.join();
    let (_, at) = running.when_rotated(1).await;
    assert_eq!(at, 20 * HOUR + 10);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_cut_off_no_longer_delays_and_finds_both_authorities_later() {
    let mut running = Running::start(World::new(24 * HOUR)).await;
    let agent = running.watchers.join();
    let before = sign(&running.ca).unwrap();
    running.when_published().await;
    advance(8 * HOUR + 4).await;
    drop(agent);
    let (_, at) = running.when_rotated(1).await;
    assert_eq!(at, 20 * HOUR + 4);
    let bundle = running.world.bundle();
    let valid_then = before[0].not_after();
    bundle.anchors().verify(&before, valid_then).expect("the old authority is still in the bundle");
    assert!(running.world.accepts(&sign(&running.ca).unwrap()));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_ended_while_the_server_was_down_is_replaced_publish_first() {
    let world = World::new(HOUR);
    drop(world.start().await.unwrap());
    advance(2 * HOUR).await;

    let mut running = Running::start(world).await;
    assert_eq!(running.world.bundle().x509_authorities().len(), 2, "published");
    assert!(matches!(sign(&running.ca), Err(SignError::Propagating)));
    let agent = sign_agent(&running.ca).expect("agents need connections to get the bundle");
    assert!(running.world.accepts(&agent));
    let (_, at) = running.when_rotated(1).await;
    assert_eq!(at, 2 * HOUR + 10);
    assert_eq!(signer(&sign(&running.ca).unwrap()), signer(&agent));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_prepared_authority_takes_over_at_once_after_an_outage_that_outlasted_the_active_one() {
    let world = World::new(24 * HOUR);
    let mut running = Running::start(world.clone()).await;
    let (published, _) = running.when_published().await;
    running.stop().await;
    advance(13 * HOUR).await;

    let (ca, _rotation) = world.start().await.unwrap();
    assert_eq!(active_id(&ca.state().current()), prepared_id(&published), "published for 13 h");
    assert!(world.accepts(&sign(&ca).unwrap()));
}

#[tokio::test(start_paused = true)]
async fn lost_keys_lead_to_a_new_authority_beside_the_old_one() {
    let world = World::new(24 * HOUR);
    let (ca, rotation) = world.start().await.unwrap();
    let before = sign(&ca).unwrap();
    drop((ca, rotation));

    let without_keys = World { keys: finial::server::ca::KeyStore::in_memory(), ..world.clone() };
    let mut running = Running::start(without_keys).await;
    assert!(matches!(sign(&running.ca), Err(SignError::Propagating)));
    running.when(|state| state.active.is_some()).await;
    assert_eq!(running.world.elapsed(), 10);
    assert!(world.accepts(&before) && world.accepts(&sign(&running.ca).unwrap()));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_of_another_authority_is_never_used_with_a_certificate() {
    let (world, other) = (World::new(24 * HOUR), World::new(24 * HOUR));
    drop((world.start().await.unwrap(), other.start().await.unwrap()));
    let mixed = World { keys: other.keys.clone(), ..world.clone() };
    let (ca, _rotation) = mixed.start().await.unwrap();
    assert_eq!(ca.state().current().active, None, "the journal's authority is given up");
    assert!(world.accepts(&sign_agent(&ca).unwrap()), "by a new one, with its own key");
}

#[tokio::test(start_paused = true)]
async fn the_active_authority_signs_on_while_the_store_is_away() {
    let mut running = Running::start(World::new(24 * HOUR)).await;
    running.world.store.shutdown().await;
    advance(13 * HOUR).await;
    assert!(sign(&running.ca).is_ok());
    let state = running.state.take_current();
    assert_eq!((state.prepared, state.rotations), (None, 0), "nothing is believed unwritten");
    advance(11 * HOUR + 1).await;
    assert!(matches!(sign(&running.ca), Err(SignError::NoAuthority)), "but not after its end");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn authorities_of_seconds_rotate_without_a_gap() {
    let mut running = Running::start(World::new(12)).await;
    let mut agent = running.watchers.join();
    for times in 1..=20 {
        let (published, _) = running.when_published().await;
        agent.serves(published.prepared.unwrap().bundle_sequence.unwrap());
        running.when_rotated(times).await;
        assert!(running.world.accepts(&sign(&running.ca).unwrap()));
    }
    assert_eq!(running.world.elapsed(), 10 + 19 * 6);
    assert!(running.world.bundle().x509_authorities().len() <= 7, "old ones leave");
    running.stop().await;
}

/// Polls without a pause, so that the paused clock stands still while other threads work, and looks after
/// each turn.
fn watched<F: Future>(work: F, look: impl Fn()) -> impl Future<Output = F::Output> {
    let mut work = Box::pin(work);
    poll_fn(move |context| {
        let progress = work.as_mut().poll(context);
        look();
        context.waker().wake_by_ref();
        progress
    })
}

/// Lets the paused clock go on now and then, for whoever waits to try again.
async fn creeping_clock() {
    loop {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_signs_is_in_the_stored_bundle_at_every_turn() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::on_disk(directory.path(), 24 * HOUR, 0);
    let (ca, rotation) = watched(world.start(), || {}).await.unwrap();
    let mut state = ca.state();
    let shutdown = Shutdown::new();
    let mut task = pin!(rotation.run(shutdown.clone()));
    let look = || {
        assert!(world.accepts(&sign(&ca).unwrap()) && world.accepts(&sign_agent(&ca).unwrap()));
    };
    let steps: [(u64, Reached); 4] = [
        (12, is_published),
        (8, |state| state.rotations == 1),
        (4, is_published),
        (8, |state| state.rotations == 2),
    ];
    for (hours, is_reached) in steps {
        tokio::time::advance(Duration::from_secs(hours * 3_600)).await;
        let step = async {
            tokio::select! {
                () = task.as_mut() => panic!("the rotation ended"),
                () = creeping_clock() => {}
                reached = state.wait_for(is_reached) => drop(reached.unwrap()),
            }
        };
        watched(step, look).await;
    }
    shutdown.request();
    watched(task, || {}).await;
    watched(world.store.shutdown(), || {}).await;
}
