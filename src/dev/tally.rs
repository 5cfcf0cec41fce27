//! What happened in the mesh while `finial dev` ran: rotations that Envoy really uses, and how long
//! each took from the agent's push.

use super::{
    envoy::{
        Admin,
        certificates::{self, SerialHex},
    },
    mesh::{BySide, Side},
};
use crate::{
    agent::Observer,
    runtime::{Reader, Shutdown},
    server::CaState,
    spiffe::SpiffeId,
    x509::cert::Serial,
};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// What was counted. Clones count together.
#[derive(Clone, Default)]
pub(super) struct Tally(Arc<Mutex<Counts>>);

#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// How often each side took a new leaf into use.
    pub(super) rotations: BySide<u64>,
    /// From the agent's change to the certificate in use, for each of them.
    pub(super) push_to_use: Vec<Duration>,
    /// New leaves that were not in use within [`PATIENCE`].
    pub(super) late: u64,
}

/// Envoy takes 3 ms; after 2 s something is wrong (istio-envoy.md §15, §18).
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at the certificates in use, only ever around a push.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// One side's identity, and how to see what its Envoy uses.
pub(super) struct Followed {
    pub(super) side: Side,
    pub(super) id: SpiffeId,
    pub(super) admin: Admin,
}

impl Tally {
    /// The counts so far.
    pub(super) fn counts(&self) -> Counts {
        self.0.lock().clone()
    }

    /// Watches one side until the end.
    pub(super) async fn follow(self, followed: Followed, observer: Observer, shutdown: Shutdown) {
        let mut changes: Reader<u64> = observer.changes();
        let mut in_use: Option<Serial> = None;
        loop {
            let seen = Instant::now();
            if let Some(serial) = serial(&observer, &followed.id)
                && in_use.as_ref() != Some(&serial)
            {
                let is_used = followed.uses(&serial, seen + PATIENCE).await;
                if in_use.replace(serial).is_some() {
                    self.note(followed.side, is_used.then(|| seen.elapsed()));
                }
            }
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    fn note(&self, side: Side, took: Option<Duration>) {
        let mut counts = self.0.lock();
        match took {
            Some(took) => {
                *counts.rotations.of_mut(side) += 1;
                counts.push_to_use.push(took);
            }
            None => counts.late += 1,
        }
    }
}

impl Followed {
    /// Whether the Envoy uses the leaf with this serial number, and no other, before `deadline`.
    async fn uses(&self, serial: &Serial, deadline: Instant) -> bool {
        let wanted = SerialHex::from_bytes(serial.bytes());
        loop {
            if let Ok(used) = certificates::in_use(&self.admin, &self.id).await
                && !used.is_empty()
                && used.iter().all(|serial| *serial == wanted)
            {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn serial(observer: &Observer, id: &SpiffeId) -> Option<Serial> {
    observer.identities().into_iter().find(|i| i.spiffe_id == *id).map(|i| i.serial)
}

/// How often an authority has followed another.
pub(super) fn ca_rotations(state: &Reader<CaState>) -> u64 {
    state.current().rotations
}
