//! A server and an agent that has joined it, with entries for the process that runs the bench.

use super::{
    agent::Agent,
    server::{Server, TRUST_DOMAIN},
};
use crate::load::{
    fleet::{Fleet, Plan},
    tally::Seen,
};
use anyhow::ensure;
use finial::{
    spiffe::{SpiffeId, TrustDomain},
    wire::proto::spire::api::types,
};
use rustix::process::getuid;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Both processes.
pub(crate) struct Mesh {
    /// The server.
    pub(crate) server: Server,
    /// The agent.
    pub(crate) agent: Agent,
    parent: SpiffeId,
}

/// Long enough for anything that does not hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

impl Mesh {
    /// Starts both.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let server = Server::start().await?;
        let invitation = server.invite().await?;
        let agent = Agent::join(server.port, &invitation).await?;
        Ok(Self { server, agent, parent: invitation.agent })
    }

    /// An entry that gives this process the identity `name`.
    pub(crate) fn entry(&self, name: &str) -> anyhow::Result<types::Entry> {
        let selector = types::Selector {
            r#type: "unix".to_owned(),
            value: format!("uid:{}", getuid().as_raw()),
        };
        Ok(types::Entry {
            spiffe_id: Some((&identity(name)?).into()),
            parent_id: Some((&self.parent).into()),
            selectors: vec![selector],
            ..types::Entry::default()
        })
    }

    /// Registers the identity `web`, which `default` then is, and waits until the agent serves it.
    pub(crate) async fn register_web(&self) -> anyhow::Result<types::Entry> {
        let mut created = self.server.create(vec![self.entry("web")?]).await?;
        let fleet = Fleet::launch(self.sidecars(1)?);
        ensure!(fleet.served(PATIENCE).await, "no first secret: {}", self.agent.process.said());
        check(&fleet)?;
        fleet.hang_up().await;
        created.pop().ok_or_else(|| anyhow::anyhow!("no entry was created"))
    }

    /// Sidecars of this agent, `default` being `web`.
    pub(crate) fn sidecars(&self, connections: usize) -> anyhow::Result<Plan> {
        let plan = Plan::istio(self.agent.socket.clone(), connections);
        Ok(Plan { default: Some(identity("web")?), ..plan })
    }

    /// Waits until the agent has used no CPU for a tenth of a second; what it has used until then.
    pub(crate) async fn agent_at_rest(&self) -> anyhow::Result<Duration> {
        // A wake-up without work costs microseconds.
        const NOTHING: Duration = Duration::from_micros(500);
        let deadline = Instant::now() + PATIENCE;
        let mut before = self.agent.process.cpu()?;
        loop {
            sleep(Duration::from_millis(100)).await;
            let now = self.agent.process.cpu()?;
            if now - before < NOTHING {
                return Ok(now);
            }
            ensure!(Instant::now() < deadline, "the agent never rests");
            before = now;
        }
    }
}

/// The identity called `name`.
pub(crate) fn identity(name: &str) -> anyhow::Result<SpiffeId> {
    Ok(TrustDomain::parse(TRUST_DOMAIN)?.member(&format!("/{name}"))?)
}

/// Fails if a sidecar was given something wrong, or lost its stream: the run is void.
pub(crate) fn check(fleet: &Fleet) -> anyhow::Result<()> {
    match fleet.tally().look(spoilt) {
        Some(reason) => Err(anyhow::anyhow!(reason)),
        None => Ok(()),
    }
}

/// Why a run proves nothing, if so.
pub(crate) fn spoilt(seen: &Seen) -> Option<String> {
    let said = |what: &str, first: &[String]| format!("{what}: {}", first.join("; "));
    if seen.wrong.count > 0 {
        return Some(said("wrong answers", &seen.wrong.first));
    }
    if seen.broken.count > 0 {
        return Some(said("broken streams", &seen.broken.first));
    }
    (seen.verified == 0).then(|| "no answer was verified".to_owned())
}
