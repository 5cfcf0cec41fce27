//! A server and an agent that has joined it, with entries for the process that runs the bench.

use super::{
    admin::Admin,
    agent::{Agent, WorkloadsBy},
    host::Host,
    product::Product,
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

/// Both, the server as a process or as a guest.
pub(crate) struct Mesh<S = Server> {
    /// The server.
    pub(crate) server: S,
    /// The agent.
    pub(crate) agent: Agent,
    parent: SpiffeId,
}

/// A server that has an administrator.
pub(crate) trait Administered: Sync {
    /// The administrator.
    fn admin(&self) -> &Admin;
}

/// Long enough for anything that does not hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

impl Mesh {
    /// Starts finial's, both as processes.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::of(&Product::Finial, WorkloadsBy::User).await
    }

    /// Starts the product's, both as processes, with an agent that tells workloads apart `by` this.
    pub(crate) async fn of(product: &Product, by: WorkloadsBy) -> anyhow::Result<Self> {
        let server = Server::of(product).await?;
        let port = server.port;
        Self::join(product, server, port, by).await
    }
}

impl Mesh<Host> {
    /// Starts the agent as a process, with a server within this one.
    pub(crate) async fn with_own_server() -> anyhow::Result<Self> {
        let host = Host::start().await?;
        let port = host.server.local_addr.port();
        Self::join(&Product::Finial, host, port, WorkloadsBy::User).await
    }
}

impl<S: Administered> Mesh<S> {
    async fn join(
        product: &Product,
        server: S,
        port: u16,
        by: WorkloadsBy,
    ) -> anyhow::Result<Self> {
        let invitation = server.admin().invite().await?;
        let agent = Agent::join(product, port, &invitation, by).await?;
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
        let mut created = self.server.admin().create(vec![self.entry("web")?]).await?;
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

impl Administered for Server {
    fn admin(&self) -> &Admin {
        &self.admin
    }
}

impl Administered for Host {
    fn admin(&self) -> &Admin {
        &self.admin
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
