//! A controller that starts in a cluster full of pods: how long until every pod has its entries, and what
//! memory it takes to know fifty thousand.

use super::number;
use crate::harness::{
    cluster::Cluster,
    row::{Bound, Row},
};
use std::time::Duration;

const PODS: usize = 5_000;
const RULES: usize = 3;
/// SPECIFICATION: ≤ 5 s.
const BOUND_SECS: f64 = 5.0;
const MANY_PODS: usize = 50_000;
/// SPECIFICATION: ≤ 150 MB.
const BOUND_MB: f64 = 150.0;
const WITHIN: Duration = Duration::from_secs(300);

pub(crate) async fn run() -> anyhow::Result<Vec<Row>> {
    Ok(vec![convergence().await?, memory().await?])
}

async fn convergence() -> anyhow::Result<Row> {
    let cluster = Cluster::of(PODS).await?;
    for rule in 0..RULES {
        cluster.declare(&format!("rule-{rule}"));
    }
    let mut controller = cluster.controller("1h")?;
    let took = cluster.until_entries(&mut controller, PODS * RULES, WITHIN).await?;
    let what = format!("{PODS} pods, {RULES} ClusterSPIFFEIDs: start → all entries");
    Ok(Row::new("controller_convergence", what, took.as_secs_f64(), "s")
        .bound(Bound::AtMost(BOUND_SECS))
        .detail("controller_cpu_s", controller.cpu()?.as_secs_f64())
        .detail("server_cpu_s", cluster.server.process.cpu()?.as_secs_f64()))
}

async fn memory() -> anyhow::Result<Row> {
    let cluster = Cluster::of(MANY_PODS).await?;
    cluster.declare("rule");
    let mut controller = cluster.controller("1h")?;
    let took = cluster.until_entries(&mut controller, MANY_PODS, WITHIN).await?;
    let megabytes = |kib: u64| number(u32::try_from(kib).unwrap_or(u32::MAX)) * 1024.0 / 1e6;
    let memory = controller.memory()?;
    let what = format!("controller's memory at {MANY_PODS} pods");
    Ok(Row::new("controller_convergence", what, megabytes(memory.rss), "MB")
        .bound(Bound::AtMost(BOUND_MB))
        .detail("convergence_s", took.as_secs_f64()))
}
