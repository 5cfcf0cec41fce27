//! An SVID is replaced, by a change of its entry through the server's API, and every sidecar gets it.

use super::fleet::SVID;
use crate::{
    harness::mesh::{Mesh, PATIENCE, check},
    load::fleet::Fleet,
    promises::{micros, millis, number},
};
use anyhow::ensure;
use finial::wire::proto::spire::api::types;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What a replaced SVID took.
pub(super) struct Pushed {
    /// CPU time of the agent per sidecar, in µs.
    pub(super) cpu: f64,
    /// From the first sidecar that had it to the last, in ms.
    pub(super) time: f64,
}

/// Gives the entry another DNS name, and with it every sidecar another certificate.
pub(super) async fn push(
    mesh: &Mesh,
    entry: &mut types::Entry,
    fleets: &[&Fleet],
) -> anyhow::Result<Pushed> {
    let mut before = mesh.agent_at_rest().await?;
    fleets.iter().for_each(|fleet| fleet.tally().mark());
    entry.dns_names = vec![format!("push-{}.example.org", entry.revision_number)];
    let updated = mesh.server.admin.update(vec![entry.clone()]).await?;
    *entry = updated.into_iter().next().unwrap_or_default();
    // SPIRE takes seconds until it pushes: what its agent does in them is no part of the push.
    let deadline = Instant::now() + PATIENCE;
    while fleets.iter().all(|fleet| fleet.tally().look(|seen| seen.pushed_after.is_empty())) {
        before = mesh.agent.process.cpu()?;
        ensure!(Instant::now() < deadline, "the replaced SVID came to no sidecar");
        sleep(Duration::from_millis(5)).await;
    }
    for fleet in fleets {
        let all = fleet.connections();
        let is_pushed = fleet.tally().wait(deadline, |seen| seen.reached(SVID) == all).await;
        ensure!(is_pushed, "the replaced SVID did not come to every sidecar");
        check(fleet)?;
    }
    let arrivals: Vec<_> = fleets
        .iter()
        .flat_map(|fleet| fleet.tally().look(|seen| seen.pushed_after.clone()))
        .collect();
    let cpu = mesh.agent_at_rest().await? - before;
    let first = arrivals.iter().min().copied().unwrap_or_default();
    let last = arrivals.iter().max().copied().unwrap_or_default();
    let sidecars: usize = fleets.iter().map(|fleet| fleet.connections()).sum();
    Ok(Pushed { cpu: micros(cpu) / number(sidecars), time: millis(last - first) })
}
