//! A client that waits for an identity which is not registered yet. finial lets its stream wait; SPIRE
//! ends it, and the client asks again: much sooner than an Envoy does, whose pauses grow.

use super::figure::REGISTRATIONS;
use crate::{
    harness::mesh::{Mesh, PATIENCE, identity},
    load::stats::percentile,
    promises::millis,
};
use anyhow::{Context, ensure};
use finial::{
    runtime::Clock,
    testing::{
        grpc::CallError,
        sds::{Answer, SdsClient},
        secret::{Authorities, verify_secret},
    },
    wire::proto::spire::api::types,
};
use futures_util::future::try_join_all;
use std::{path::Path, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// Between two requests of a client that is refused.
const PAUSE: Duration = Duration::from_millis(50);
/// Between two registrations, so that they fall everywhere within SPIRE's intervals of 5 s.
const STEP: Duration = Duration::from_millis(500);
/// What a client needs to be waiting.
const HEAD_START: Duration = Duration::from_millis(100);

/// From the acknowledged creation of an entry to its secret, in ms.
pub(super) struct Late {
    /// The middle one.
    pub(super) median: f64,
    /// The longest.
    pub(super) longest: f64,
}

/// Registers identities, each while a client waits for it.
pub(super) async fn late(mesh: &Mesh) -> anyhow::Result<Late> {
    let client = SdsClient::connect(&mesh.agent.socket).await?;
    let roots = client.fetch(&["ROOTCA"]).await?;
    let authorities = Authorities::of(roots.secret("ROOTCA").context("no ROOTCA")?)?;
    let latencies = (0..REGISTRATIONS).map(async |number| {
        sleep(STEP * number).await;
        register(mesh, &authorities, &format!("late/{number}")).await
    });
    let latencies = try_join_all(latencies).await?;
    let at = |percent| millis(percentile(&latencies, percent));
    Ok(Late { median: at(50.0), longest: at(100.0) })
}

/// Registers `web` and waits until the agent serves it.
pub(super) async fn web(mesh: &Mesh) -> anyhow::Result<types::Entry> {
    let mut created = mesh.server.admin.create(vec![mesh.entry("web")?]).await?;
    awaited(&mesh.agent.socket, identity("web")?.as_str()).await?;
    created.pop().context("no entry was created")
}

async fn register(mesh: &Mesh, authorities: &Authorities, name: &str) -> anyhow::Result<Duration> {
    let id = identity(name)?;
    let created = async {
        sleep(HEAD_START).await;
        mesh.server.admin.create(vec![mesh.entry(name)?]).await?;
        anyhow::Ok(Instant::now())
    };
    let awaited = awaited(&mesh.agent.socket, id.as_str());
    let (acknowledged, (arrived, answer)) = tokio::try_join!(created, awaited)?;
    let secret = answer.secret(id.as_str()).context("another secret than asked for")?;
    let svid = verify_secret(secret, authorities, Clock::system().now())?;
    ensure!(*svid.id() == id, "asked for {id}, got {}", svid.id());
    Ok(arrived.saturating_duration_since(acknowledged))
}

/// Asks for the secret `name` until it is there; when it came.
async fn awaited(socket: &Path, name: &str) -> anyhow::Result<(Instant, Answer)> {
    let client = SdsClient::connect(socket).await?;
    let asking = async {
        loop {
            let mut stream = client.stream(&[name]).await?;
            match stream.accept().await {
                Ok(answer) => return Ok((Instant::now(), answer)),
                Err(CallError::Ended(_)) => sleep(PAUSE).await,
                Err(error) => return Err(error),
            }
        }
    };
    Ok(timeout(PATIENCE, asking).await.with_context(|| format!("{name} never came"))??)
}
