//! The trust bundle changes: every stream that asked for it is told, and no other.

use super::{micros, millis, number};
use crate::{
    harness::{
        host::Host,
        machine::{Core, on_core},
        mesh::{Mesh, PATIENCE, spoilt},
        row::{Bound, Pair, Row},
        server::TRUST_DOMAIN,
    },
    limits::socket,
    load::{fleet::Fleet, stats::percentile},
};
use anyhow::ensure;
use finial::{runtime::Clock, spiffe::TrustDomain, testing::ca::TestCa};
use std::time::Duration;
use tokio::time::Instant;

const STREAMS: [usize; 2] = [1_000, 5_000];
/// One for the first use of what the agent allocates, the others to measure.
const CHANGES: usize = 22;
/// The place of `ROOTCA` and `default` among a sidecar's names.
const ROOTCA: usize = 1;
const DEFAULT: usize = 0;
/// SPECIFICATION: agent CPU ≤ 4 × (raw write + ACK read) per stream.
const BOUND: f64 = 4.0;

pub(crate) async fn run() -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for streams in STREAMS {
        rows.push(fanout(streams).await?);
    }
    Ok(rows)
}

async fn fanout(streams: usize) -> anyhow::Result<Row> {
    let mesh = Mesh::with_own_server().await?;
    mesh.register_web().await?;
    let fleet = Fleet::launch(mesh.sidecars(streams)?);
    ensure!(fleet.served(PATIENCE).await, "not every sidecar was served");
    let (mut pairs, mut last) = (Vec::new(), Vec::new());
    for change in 0..CHANGES {
        let limit = on_core(Core::Product, || socket::push(streams))?;
        let before = mesh.agent_at_rest().await?;
        fleet.tally().mark();
        change_bundle(&mesh, change).await?;
        let deadline = Instant::now() + PATIENCE;
        let all = fleet.tally().wait(deadline, |seen| seen.reached(ROOTCA) == streams).await;
        ensure!(all, "change {change} did not reach every stream");
        let cpu = mesh.agent_at_rest().await? - before;
        if change > 0 {
            pairs.push(Pair { measured: micros(cpu) / number(streams), limit: micros(limit) });
            last.push(fleet.tally().look(|seen| percentile(&seen.pushed_after, 100.0)));
        }
        let (pushes, others) =
            fleet.tally().look(|seen| (seen.pushes(ROOTCA), seen.pushes(DEFAULT)));
        ensure!(others == 0, "{others} pushes of what did not change");
        ensure!(pushes == u64::try_from(streams)?, "{pushes} pushes to {streams} streams");
    }
    let what = format!("bundle change → {streams} streams, agent CPU per stream");
    let row = Row::paired("fanout", what, &pairs, "µs")
        .bound(Bound::TimesLimit(BOUND))
        .detail("last_ack_ms", millis(percentile(&last, 50.0)))
        .void(fleet.tally().look(spoilt));
    fleet.hang_up().await;
    Ok(row)
}

/// Adds an authority, or removes the one that the last change added: the bundle has one or two.
async fn change_bundle(mesh: &Mesh<Host>, change: usize) -> anyhow::Result<()> {
    const HOUR: Duration = Duration::from_secs(3_600);
    let trust_domain = TrustDomain::parse(TRUST_DOMAIN)?;
    let (store, now) = (mesh.server.server.store(), Clock::system().now());
    if change % 2 == 1 {
        // The server's own authority lives for a day, that of the bench for one hour more.
        store.prune_authorities(&trust_domain, now + 12 * HOUR).await?;
        return Ok(());
    }
    let authority = TestCa::new(TRUST_DOMAIN, now - 23 * HOUR);
    let certificate = authority.authority().certificate().clone();
    store.append_x509_authority(&trust_domain, certificate).await?;
    Ok(())
}
