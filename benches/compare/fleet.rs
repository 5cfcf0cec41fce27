//! Sidecars that ask for `web` by its id: `default` is for each product to choose as soon as a workload
//! has more identities than one.

use super::figure::{AT_ONCE_SECS, IN_TURN, Sample};
use crate::{
    harness::mesh::{Mesh, PATIENCE, check, identity, spoilt},
    load::{
        fleet::{Fleet, Names, Plan},
        stats::percentile,
    },
    promises::{micros, millis, number},
};
use anyhow::ensure;
use std::time::Duration;
use tokio::time::Instant;

/// The place of the SVID among a sidecar's names; the bundle is the other.
pub(super) const SVID: usize = 0;

/// What it took to serve a fleet.
pub(super) struct Served {
    /// CPU time of the agent per sidecar, in µs.
    pub(super) cpu: f64,
    /// From the start to the last secret, in ms.
    pub(super) time: f64,
}

/// Connects `sidecars`, a few at a time, and waits until each has both of its secrets.
pub(super) async fn in_turn(mesh: &Mesh, sidecars: usize) -> anyhow::Result<(Fleet, Served)> {
    let before = mesh.agent_at_rest().await?;
    let fleet = Fleet::launch(Plan { at_once: Some(IN_TURN), ..plan(mesh, sidecars)? });
    let is_served = fleet.served(PATIENCE).await;
    let waiting = fleet.tally().look(|seen| seen.waiting);
    check(&fleet)?;
    ensure!(is_served, "hung: {waiting} of {} streams left waiting", sidecars * 2);
    let served = served(mesh, &fleet, before).await?;
    Ok((fleet, served))
}

/// Connects `sidecars` at once. That an agent leaves them waiting, or turns them away, is a result.
pub(super) async fn at_once(mesh: &Mesh, sidecars: usize) -> anyhow::Result<[Sample; 2]> {
    let before = mesh.agent_at_rest().await?;
    let fleet = Fleet::launch(plan(mesh, sidecars)?);
    let deadline = Instant::now() + Duration::from_secs(AT_ONCE_SECS.into());
    let is_served = fleet.tally().wait(deadline, |seen| seen.waiting == 0).await;
    let failure = fleet.tally().look(|seen| match (is_served, spoilt(seen)) {
        (true, reason) => reason,
        (false, _) => Some(format!(
            "hung: {} of {} streams left waiting after {AT_ONCE_SECS} s, {} of them ended",
            seen.waiting,
            sidecars * 2,
            seen.broken.count
        )),
    });
    let samples = match failure {
        Some(reason) => [Err(reason.clone()), Err(reason)],
        None => {
            let served = served(mesh, &fleet, before).await?;
            [Ok(served.cpu), Ok(served.time)]
        }
    };
    fleet.hang_up().await;
    Ok(samples)
}

async fn served(mesh: &Mesh, fleet: &Fleet, before: Duration) -> anyhow::Result<Served> {
    let cpu = mesh.agent_at_rest().await? - before;
    let last = fleet.tally().look(|seen| percentile(&seen.first_after, 100.0));
    Ok(Served { cpu: micros(cpu) / number(fleet.connections()), time: millis(last) })
}

fn plan(mesh: &Mesh, sidecars: usize) -> anyhow::Result<Plan> {
    let names = vec![identity("web")?.to_string(), "ROOTCA".to_owned()];
    Ok(Plan { names: Names::Same(names), ..mesh.sidecars(sidecars)? })
}
