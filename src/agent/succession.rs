//! From one agent process to the next: what the last one left is served at once, and what this one
//! knows is written down as it changes.

use crate::{
    agent::{
        cache::{Cache, EntryWriter, Signed, SvidWriter, Update, UpdateKind},
        identity::Standing,
        storage::{Handover, handover::Inheritance},
    },
    runtime::{
        Clock, Reader, Shutdown, TaskSet,
        complaint::{Complaint, Noted},
    },
    spiffe::SpiffeId,
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// From a change to its being written: what changes together is written together.
const GATHER: Duration = Duration::from_millis(100);
/// Between two writes: so long that writing takes no more than a four-thousandth of the time (a thousand
/// SVIDs take 2 ms), within bounds. An SVID that a crash loses in this time is signed again; until then its
/// predecessor in the file serves, which has half of its life left.
const REST_PER_WRITE: u32 = 4_000;
const LEAST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(10);

/// Puts into the cache what the last process of `agent` left. Blocks.
pub fn adopt(
    handover: &Handover,
    agent: &SpiffeId,
    cache: &Cache,
    entries: &EntryWriter,
    svids: &SvidWriter,
    clock: &Clock,
) {
    let inherited = match handover.load(agent) {
        Ok(Some(inherited)) => inherited,
        Ok(None) => return,
        Err(error) => {
            tracing::warn!(%error, "nothing is taken over from the last process");
            return;
        }
    };
    let Inheritance { entries: known, bundles, svids: signed } = inherited;
    let (entry_count, svid_count) = (known.len(), signed.len());
    entries.apply(Update {
        kind: UpdateKind::Snapshot,
        entries: known,
        removed_entries: Vec::new(),
        bundles,
        removed_bundles: Vec::new(),
    });
    let Some(bundle) = cache.own_bundle() else { return };
    let now = clock.now();
    let usable = signed.into_iter().filter_map(|(entry, svid, due)| {
        Signed::verify(Arc::new(entry), svid, due, &bundle, now)
            .inspect_err(
                |error| tracing::debug!(%error, "an SVID of the last process is of no use"),
            )
            .ok()
    });
    let usable: Vec<_> = usable.collect();
    tracing::info!(
        entries = entry_count,
        svids = svid_count,
        usable = usable.len(),
        "took over from the last process"
    );
    for (id, reason) in svids.install(usable) {
        tracing::debug!(entry = %id, %reason, "an SVID of the last process is not used");
    }
}

/// Writes down what the cache knows, whenever it has changed, and once more at `shutdown`.
pub async fn keep(
    handover: Handover,
    cache: Cache,
    standing: Reader<Standing>,
    shutdown: Shutdown,
) {
    let mut generation = cache.generation();
    let mut complaint = Complaint::default();
    loop {
        tokio::select! {
            biased;
            () = shutdown.requested() => break,
            _ = generation.changed() => {}
        }
        tokio::select! {
            biased;
            () = shutdown.requested() => break,
            () = sleep(GATHER) => {}
        }
        generation.take_current();
        let started = Instant::now();
        write(&handover, &cache, &standing, &mut complaint).await;
        let rest = (started.elapsed() * REST_PER_WRITE).clamp(LEAST_REST, LONGEST_REST);
        tokio::select! {
            biased;
            () = shutdown.requested() => break,
            () = sleep(rest) => {}
        }
    }
    write(&handover, &cache, &standing, &mut complaint).await;
}

async fn write(
    handover: &Handover,
    cache: &Cache,
    standing: &Reader<Standing>,
    complaint: &mut Complaint,
) {
    // An agent that was evicted or banned leaves nothing; the identity wipes what there was.
    let Some(agent) = standing.current().agent_id().cloned() else { return };
    let (file, snapshot, standing) = (handover.clone(), cache.snapshot(), standing.clone());
    let written = TaskSet::blocking(move || {
        file.store(&agent, &snapshot)?;
        // It may have been cast out while this was written.
        if standing.current().is_cast_out() { file.wipe() } else { Ok(()) }
    });
    match written.await {
        Ok(Ok(())) => {
            complaint.settle();
        }
        Ok(Err(error)) => {
            if let Noted::New(error) = complaint.note(&error) {
                tracing::warn!(error, "the next process will find no SVIDs");
            }
        }
        Err(error) => tracing::debug!(%error, "ending"),
    }
}
