//! A large cluster in which pods come all the time: from the event to the entry, and what an event costs
//! beside a look at everything.

use super::{millis, number};
use crate::{
    harness::{
        cluster::Cluster,
        process::Process,
        row::{Bound, Row},
    },
    load::stats::percentile,
};
use anyhow::ensure;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

const PODS: usize = 50_000;
const EVENTS: usize = 400;
/// 20 a second.
const EVERY: Duration = Duration::from_millis(50);
/// SPECIFICATION: p99 ≤ 150 ms.
const BOUND_MS: f64 = 150.0;
/// SPECIFICATION: a full pass costs at least a hundred times an event.
const BOUND_RATIO: f64 = 100.0;
const FULL_PASS: &str = "2s";
const PASSES_WITHIN: Duration = Duration::from_secs(10);
const WITHIN: Duration = Duration::from_secs(300);

pub(crate) async fn run() -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::of(PODS).await?;
    cluster.declare("rule");
    let full_pass = full_pass(&cluster).await?;
    let mut controller = cluster.controller("1h")?;
    idle(&controller).await?;
    let cpu = controller.cpu()?;
    let latencies = events(&cluster, &mut controller).await?;
    let event = (controller.cpu()? - cpu) / u32::try_from(EVENTS)?;
    let at = |percent| millis(percentile(&latencies, percent));
    let what = format!("pod created → entry, 20/s at {PODS} pods");
    let ratio = full_pass.as_secs_f64() / event.as_secs_f64();
    Ok(vec![
        Row::new("controller_events", format!("{what}, p99"), at(99.0), "ms")
            .bound(Bound::AtMost(BOUND_MS))
            .detail("max_ms", at(100.0)),
        Row::new("controller_events", format!("{what}, p50"), at(50.0), "ms"),
        Row::new("controller_events", "CPU of a full pass / CPU of an event", ratio, "×")
            .bound(Bound::AtLeast(BOUND_RATIO))
            .detail("event_ms", millis(event))
            .detail("full_pass_ms", millis(full_pass)),
    ])
}

/// What a comparison of everything costs a controller, the first one with all its creates aside.
async fn full_pass(cluster: &Cluster) -> anyhow::Result<Duration> {
    let mut controller = cluster.controller(FULL_PASS)?;
    cluster.until_entries(&mut controller, PODS, WITHIN).await?;
    let cpu = controller.cpu()?;
    sleep(PASSES_WITHIN).await;
    Ok((controller.cpu()? - cpu) / 5)
}

/// Waits until a controller that finds everything done has seen that.
async fn idle(controller: &Process) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut before = controller.cpu()?;
    loop {
        sleep(Duration::from_secs(1)).await;
        let now = controller.cpu()?;
        // Less than this in a second is a process that waits.
        if now - before < Duration::from_millis(5) && started.elapsed() > Duration::from_secs(3) {
            return Ok(());
        }
        ensure!(started.elapsed() < WITHIN, "the controller does not come to rest");
        before = now;
    }
}

async fn events(cluster: &Cluster, controller: &mut Process) -> anyhow::Result<Vec<Duration>> {
    let started = Instant::now();
    let mut latencies = Vec::with_capacity(EVENTS);
    for event in 0..EVENTS {
        sleep_until(started + EVERY * u32::try_from(event)?).await;
        cluster.add_pod(PODS + event);
        let wanted = PODS + event + 1;
        latencies.push(cluster.until_entries(controller, wanted, WITHIN).await?);
    }
    ensure!(number(latencies.len()) > 0.0, "no event was measured");
    Ok(latencies)
}
