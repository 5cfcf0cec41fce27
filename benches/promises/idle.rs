//! A node on which nothing happens costs nothing: an agent with its sidecars connected sleeps.

use super::{millis, number};
use crate::{
    harness::{
        mesh::{Mesh, PATIENCE, check},
        row::{Bound, Row},
    },
    load::fleet::Fleet,
};
use anyhow::ensure;
use std::time::Duration;
use tokio::time::sleep;

const SIDECARS: usize = 100;
const WINDOW: Duration = Duration::from_secs(60);
/// SPECIFICATION: at most one wake-up per second.
const BOUND: f64 = 1.0;

pub(crate) async fn run() -> anyhow::Result<Vec<Row>> {
    let mesh = Mesh::start().await?;
    mesh.register_web().await?;
    let fleet = Fleet::launch(mesh.sidecars(SIDECARS)?);
    ensure!(fleet.served(PATIENCE).await, "not all sidecars were served");
    mesh.agent_at_rest().await?;
    let (process, seconds) = (&mesh.agent.process, WINDOW.as_secs_f64());
    let (cpu, wakeups) = (process.cpu()?, process.wakeups()?);
    sleep(WINDOW).await;
    let (cpu_after, after) = (process.cpu()?, process.wakeups()?);
    check(&fleet)?;
    let per_second = |before: u64, after: u64| number(after.saturating_sub(before)) / seconds;
    let what = format!("agent with {SIDECARS} sidecars, {} s", WINDOW.as_secs());
    let voluntary = per_second(wakeups.voluntary, after.voluntary);
    Ok(vec![
        Row::new("idle", format!("{what}: wake-ups"), voluntary, "/s")
            .bound(Bound::AtMost(BOUND))
            .detail("timeslices_per_s", per_second(wakeups.timeslices, after.timeslices)),
        Row::new("idle", format!("{what}: CPU"), millis(cpu_after - cpu) / seconds, "ms/s"),
    ])
}
