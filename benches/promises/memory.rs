//! What one more idle sidecar costs the agent in memory: the slope between two fleets, so that what
//! the agent needs anyway does not count.

use super::number;
use crate::{
    harness::{
        mesh::{Mesh, PATIENCE, check},
        process::Memory,
        row::{Bound, Row},
    },
    load::fleet::{Fleet, Plan},
};
use anyhow::ensure;
use finial::{testing::sds::FirstMessage, wire::proto::spire::api::types};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const FEW: usize = 1_000;
const MANY: usize = 5_000;
const PUSHES: usize = 10;
/// SPECIFICATION: ≤ 36 KB per sidecar with two idle streams after ten pushes.
const BOUND: f64 = 36.0;
/// For an allocator that gives pages back late.
const REST: Duration = Duration::from_secs(3);

pub(crate) async fn run() -> anyhow::Result<Vec<Row>> {
    let mesh = Mesh::start().await?;
    let mut entry = mesh.register_web().await?;
    let empty = mesh.agent.process.memory()?;
    let first = served(&mesh, FEW).await?;
    let few = after_pushes(&mesh, &mut entry, &[&first]).await?;
    let second = served(&mesh, MANY - FEW).await?;
    let many = after_pushes(&mesh, &mut entry, &[&first, &second]).await?;
    check(&first)?;
    check(&second)?;
    let slope = |of: fn(Memory) -> u64| {
        // KiB to KB.
        number(of(many).saturating_sub(of(few))) * 1.024 / number(MANY - FEW)
    };
    // What the allocator has not given back after the first ones would make the slope too small.
    let share = number(many.rss.saturating_sub(empty.rss)) * 1.024 / number(MANY);
    let per_sidecar = slope(|memory| memory.rss).max(share);
    let what = format!("per sidecar after {PUSHES} pushes, {FEW} to {MANY} or 0 to {MANY}");
    Ok(vec![
        Row::new("memory", format!("{what}: RSS"), per_sidecar, "KB")
            .bound(Bound::AtMost(BOUND))
            .detail("pss_slope_kb", slope(|memory| memory.pss))
            .detail("rss_kib_of_few", few.rss)
            .detail("rss_kib_of_many", many.rss),
        Row::new("memory", "agent without sidecars: RSS", number(empty.rss) * 1.024 / 1e3, "MB")
            .detail("pss_kib", empty.pss),
    ])
}

async fn served(mesh: &Mesh, sidecars: usize) -> anyhow::Result<Fleet> {
    // What an Istio proxy says first is 61 kB per stream, and must leave nothing behind.
    let plan = Plan { first_message: FirstMessage::EnvoySized, ..mesh.sidecars(sidecars)? };
    let fleet = Fleet::launch(plan);
    ensure!(fleet.served(PATIENCE).await, "not all of {sidecars} sidecars were served");
    Ok(fleet)
}

async fn after_pushes(
    mesh: &Mesh,
    entry: &mut types::Entry,
    fleets: &[&Fleet],
) -> anyhow::Result<Memory> {
    for push in 0..PUSHES {
        fleets.iter().for_each(|fleet| fleet.tally().mark());
        // Another DNS name is another certificate.
        entry.dns_names = vec![format!("push-{push}.example.org")];
        let updated = mesh.server.admin.update(vec![entry.clone()]).await?;
        *entry = updated.into_iter().next().unwrap_or_default();
        for fleet in fleets {
            let all = fleet.connections();
            let deadline = Instant::now() + PATIENCE;
            let is_pushed = fleet.tally().wait(deadline, |seen| seen.reached(0) == all).await;
            ensure!(is_pushed, "push {push} did not reach every sidecar");
        }
    }
    mesh.agent_at_rest().await?;
    sleep(REST).await;
    mesh.agent.process.memory()
}
