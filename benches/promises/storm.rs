//! Every sidecar of a node connects at once, as after an agent's restart: each gets both secrets, and
//! what that costs the agent. (A real spire-agent stops for good at 400 to 1,000.)

use super::{micros, millis, number};
use crate::{
    harness::{
        machine::{Core, on_core},
        mesh::{Mesh, PATIENCE, spoilt},
        row::{Bound, Row},
    },
    limits::socket,
    load::{fleet::Fleet, stats::percentile},
};

const SIDECARS: [usize; 2] = [1_000, 4_000];
/// SPECIFICATION: agent CPU ≤ 3 × (raw connect + accept + credential calls + two writes).
const BOUND: f64 = 3.0;

pub(crate) async fn run() -> anyhow::Result<Vec<Row>> {
    let mesh = Mesh::start().await?;
    mesh.register_web().await?;
    let mut rows = Vec::new();
    for sidecars in SIDECARS {
        rows.extend(storm(&mesh, sidecars).await?);
    }
    Ok(rows)
}

async fn storm(mesh: &Mesh, sidecars: usize) -> anyhow::Result<[Row; 3]> {
    let limit = on_core(Core::Product, || socket::attested_connection(sidecars))?;
    let before = mesh.agent_at_rest().await?;
    let fleet = Fleet::launch(mesh.sidecars(sidecars)?);
    fleet.served(PATIENCE).await;
    let cpu = mesh.agent_at_rest().await? - before;
    let rows = fleet.tally().look(|seen| {
        let void = spoilt(seen);
        let row = |what: &str, value, unit| {
            Row::new("storm", format!("{sidecars} sidecars at once: {what}"), value, unit)
                .void(void.clone())
        };
        let last = percentile(&seen.first_after, 100.0);
        [
            row("connects refused", number(seen.refused), "").bound(Bound::AtMost(0.0)),
            row("streams left waiting", number(seen.waiting), "").bound(Bound::AtMost(0.0)),
            row("agent CPU per sidecar", micros(cpu) / number(sidecars), "µs")
                .limit(micros(limit))
                .bound(Bound::TimesLimit(BOUND))
                .detail("last_secret_ms", millis(last))
                .detail("p99_secret_ms", millis(percentile(&seen.first_after, 99.0)))
                .detail("verified", seen.verified),
        ]
    });
    fleet.hang_up().await;
    Ok(rows)
}
