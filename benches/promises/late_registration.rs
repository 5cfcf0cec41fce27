//! What a user feels: from the acknowledged creation of an entry to the secret at the Envoy that has
//! been waiting for it.

use super::{millis, number};
use crate::{
    harness::{
        mesh::{Mesh, PATIENCE, identity},
        row::{Bound, Row},
    },
    load::stats::percentile,
};
use anyhow::{Context, ensure};
use finial::{
    runtime::Clock,
    testing::{
        sds::SdsClient,
        secret::{Authorities, verify_secret},
    },
};
use std::time::Duration;
use tokio::time::{Instant, timeout};

const REGISTRATIONS: usize = 200;
/// SPECIFICATION: p99 ≤ 100 ms.
const BOUND_MS: f64 = 100.0;

pub(crate) async fn run() -> anyhow::Result<Vec<Row>> {
    let mesh = Mesh::start().await?;
    mesh.register_web().await?;
    let client = SdsClient::connect(&mesh.agent.socket).await?;
    let roots = client.fetch(&["ROOTCA"]).await?;
    let authorities = Authorities::of(roots.secret("ROOTCA").context("no ROOTCA")?)?;
    let mut latencies = Vec::with_capacity(REGISTRATIONS);
    for number in 0..REGISTRATIONS {
        latencies.push(register(&mesh, &authorities, &format!("late/{number}")).await?);
    }
    let at = |percent| millis(percentile(&latencies, percent));
    let what = "create acknowledged → secret at the waiting client";
    Ok(vec![
        Row::new("late_registration", format!("{what}, p99"), at(99.0), "ms")
            .bound(Bound::AtMost(BOUND_MS))
            .detail("max_ms", at(100.0))
            .detail("registrations", number(REGISTRATIONS)),
        Row::new("late_registration", format!("{what}, p50"), at(50.0), "ms"),
    ])
}

async fn register(mesh: &Mesh, authorities: &Authorities, name: &str) -> anyhow::Result<Duration> {
    /// An Envoy's request takes a fraction of it to arrive, and the agent has no word for "I wait".
    const SUBSCRIBED: Duration = Duration::from_millis(20);
    let id = identity(name)?;
    let client = SdsClient::connect(&mesh.agent.socket).await?;
    let mut stream = client.stream(&[id.as_str()]).await?;
    ensure!(timeout(SUBSCRIBED, stream.next()).await.is_err(), "{id} was answered too early");
    let created = async {
        mesh.server.admin.create(vec![mesh.entry(name)?]).await?;
        anyhow::Ok(Instant::now())
    };
    let answered = async {
        let answer =
            timeout(PATIENCE, stream.accept()).await.context("the stream still waits")??;
        anyhow::Ok((Instant::now(), answer))
    };
    let (acknowledged, (arrived, answer)) = tokio::try_join!(created, answered)?;
    let secret = answer.secret(id.as_str()).context("another secret than asked for")?;
    let svid = verify_secret(secret, authorities, Clock::system().now())?;
    ensure!(*svid.id() == id, "asked for {id}, got {}", svid.id());
    Ok(arrived.saturating_duration_since(acknowledged))
}
