//! Every sidecar of a node connects at once, as after an agent's restart: each gets both secrets, and
//! what that costs the agent. (A real spire-agent stops for good at 400 to 1,000.) One storm is over in a
//! tenth of a second, in which a shared machine can do anything: the middle one of several counts.

use super::{micros, millis, number};
use crate::{
    harness::{
        machine::{Core, on_core},
        mesh::{Mesh, PATIENCE, spoilt},
        row::{Bound, Pair, Row},
    },
    limits::socket,
    load::{fleet::Fleet, stats::percentile},
};
use std::time::Duration;

const SIDECARS: [usize; 2] = [1_000, 4_000];
/// The first one of them finds the agent with its memory untouched; its cost is told beside.
const STORMS: usize = 7;
/// SPECIFICATION: agent CPU ≤ 3 × (raw connect + accept + credential calls + two writes).
const BOUND: f64 = 3.0;

pub(crate) async fn run() -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for sidecars in SIDECARS {
        let mesh = Mesh::start().await?;
        mesh.register_web().await?;
        rows.extend(storms(&mesh, sidecars).await?);
    }
    Ok(rows)
}

/// What one storm came to.
struct Storm {
    /// Agent CPU per sidecar, µs.
    cpu: Pair,
    refused: u64,
    waiting: usize,
    /// When the last sidecar had its secrets, and 99 % of them.
    last: Duration,
    p99: Duration,
    void: Option<String>,
}

async fn storms(mesh: &Mesh, sidecars: usize) -> anyhow::Result<[Row; 3]> {
    let mut storms = Vec::new();
    for _ in 0..STORMS {
        storms.push(storm(mesh, sidecars).await?);
    }
    let void = storms.iter().find_map(|storm| storm.void.clone());
    let what = |what: &str| format!("{sidecars} sidecars at once: {what}");
    let count = |of, value| {
        Row::new("storm", what(of), value, "").bound(Bound::AtMost(0.0)).void(void.clone())
    };
    let costs: Vec<_> = storms.iter().map(|storm| storm.cpu).collect();
    let first = costs.first().map(|pair| pair.measured).unwrap_or_default();
    let worst = |of: fn(&Storm) -> Duration| storms.iter().map(of).max().unwrap_or_default();
    let refused: u64 = storms.iter().map(|storm| storm.refused).sum();
    let waiting: usize = storms.iter().map(|storm| storm.waiting).sum();
    Ok([
        count("connects refused", number(refused)),
        count("streams left waiting", number(waiting)),
        Row::paired("storm", what("agent CPU per sidecar"), &costs, "µs")
            .bound(Bound::TimesLimit(BOUND))
            .detail("first_storm_µs", first)
            .detail("worst_last_secret_ms", millis(worst(|storm| storm.last)))
            .detail("worst_p99_secret_ms", millis(worst(|storm| storm.p99)))
            .void(void.clone()),
    ])
}

async fn storm(mesh: &Mesh, sidecars: usize) -> anyhow::Result<Storm> {
    let limit = micros(on_core(Core::Product, || socket::attested_connection(sidecars))?);
    let before = mesh.agent_at_rest().await?;
    let fleet = Fleet::launch(mesh.sidecars(sidecars)?);
    fleet.served(PATIENCE).await;
    let cpu = mesh.agent_at_rest().await? - before;
    let storm = fleet.tally().look(|seen| Storm {
        cpu: Pair { measured: micros(cpu) / number(sidecars), limit },
        refused: seen.refused,
        waiting: seen.waiting,
        last: percentile(&seen.first_after, 100.0),
        p99: percentile(&seen.first_after, 99.0),
        void: spoilt(seen),
    });
    fleet.hang_up().await;
    Ok(storm)
}
