//! Which of several controllers writes: the one that holds a Lease, by the rules of client-go, so that it
//! agrees with spire-controller-manager on whose turn it is.
//!
//! Knows nothing of what is written. Another's lease is judged by how long it has not changed here, never
//! by the times in it: clocks differ. A holder that cannot renew stands by before others may take the
//! lease, and goes on trying; it never ends the process. One task of its own.

use super::config::model::LeaseConfig;
use crate::{
    k8s::{Fault, KubeClient, KubeError},
    runtime::{Clock, Publisher, Reader, Shutdown},
};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// What this controller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Watch, so as to be ready.
    StandsBy,
    /// Write.
    Leads,
}

/// One that would lead.
pub(super) struct Candidate {
    kube: KubeClient,
    config: LeaseConfig,
    /// Who it says that it is; unique to the process.
    identity: String,
    clock: Clock,
    role: Publisher<Role>,
    /// The lease as it was last seen, and since when it has been so.
    seen: Option<(LeaseSpec, Instant)>,
    /// When the last renewal that was granted was asked for.
    renewed: Option<Instant>,
}

/// What a look at the lease calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Ours already, or nobody's any more.
    Mine,
    /// Another's.
    Theirs,
}

/// How long a program that ends waits to give the lease back.
const RELEASE_WITHIN: Duration = Duration::from_secs(2);

impl Candidate {
    /// One that has not tried yet; the reader says what it may do.
    pub(super) fn new(
        kube: KubeClient,
        config: LeaseConfig,
        identity: String,
        clock: Clock,
    ) -> (Self, Reader<Role>) {
        let role = Publisher::new(Role::StandsBy);
        let reader = role.reader();
        (Self { kube, config, identity, clock, role, seen: None, renewed: None }, reader)
    }

    /// Tries until `shutdown`, and then gives the lease back, so that another need not wait for its end.
    pub(super) async fn run(mut self, shutdown: Shutdown) {
        let mut is_told = false;
        loop {
            let began = Instant::now();
            // A renewal that comes after this is of no use: others may have the lease by then.
            let patience = self.renewed.map_or(began + self.config.renew_deadline, |renewed| {
                renewed + self.config.renew_deadline
            });
            let tried = tokio::select! {
                biased;
                () = shutdown.requested() => break,
                tried = timeout_at(patience.max(began + self.config.retry_period), self.try_hold()) => tried,
            };
            match tried {
                Ok(Ok(Turn::Mine)) => {
                    self.renewed = Some(began);
                    is_told = false;
                    self.take_role(Role::Leads);
                }
                Ok(Ok(Turn::Theirs)) => {
                    self.renewed = None;
                    is_told = false;
                    self.take_role(Role::StandsBy);
                }
                Ok(Err(error)) => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(lease = self.config.name, %error, "cannot hold the lease");
                    }
                }
                Err(_) => tracing::warn!(
                    lease = self.config.name,
                    "the lease was not answered for in time"
                ),
            }
            if self.renewed.is_some_and(|renewed| renewed.elapsed() >= self.config.renew_deadline) {
                self.renewed = None;
                self.take_role(Role::StandsBy);
            }
            tokio::select! {
                biased;
                () = shutdown.requested() => break,
                () = sleep(self.config.retry_period) => {}
            }
        }
        if self.role.current() == Role::Leads {
            self.take_role(Role::StandsBy);
            let released = tokio::time::timeout(RELEASE_WITHIN, self.release()).await;
            if !matches!(released, Ok(Ok(()))) {
                tracing::info!(lease = self.config.name, "lease not given back: it ends by itself");
            }
        }
    }

    fn take_role(&self, role: Role) {
        self.role.update(|current| {
            let is_new = *current != role;
            *current = role;
            if is_new {
                let (lease, identity) = (&self.config.name, &self.identity);
                tracing::info!(lease, identity, ?role, "role changed");
            }
            is_new
        });
    }

    /// Holds the lease, if it is ours or free.
    async fn try_hold(&mut self) -> Result<Turn, KubeError> {
        let Some(mut lease) = self.read().await? else {
            self.create().await?;
            return Ok(Turn::Mine);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let turn = self.judge(&spec, Instant::now());
        if turn == Turn::Theirs {
            return Ok(turn);
        }
        lease.spec = Some(self.next(&spec));
        let name = self.config.name.clone();
        let replaced = self
            .call(async move |api| api.replace(&name, &PostParams::default(), &lease).await)
            .await;
        match replaced {
            Ok(_) => Ok(Turn::Mine),
            // Another was faster; the next look shows whom.
            Err(KubeError::Answer(status)) if status.code == 409 => Ok(Turn::Theirs),
            Err(error) => Err(error),
        }
    }

    /// Whose turn it is when the lease says `spec` at `now`.
    fn judge(&mut self, spec: &LeaseSpec, now: Instant) -> Turn {
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return Turn::Mine;
        }
        match &self.seen {
            Some((seen, since)) if seen == spec => {
                let life = u64::try_from(spec.lease_duration_seconds.unwrap_or_default());
                let life = life.map_or(self.config.duration, Duration::from_secs);
                if now.duration_since(*since) >= life { Turn::Mine } else { Turn::Theirs }
            }
            _ => {
                self.seen = Some((spec.clone(), now));
                Turn::Theirs
            }
        }
    }

    /// What the lease says when it is ours from now on.
    fn next(&self, before: &LeaseSpec) -> LeaseSpec {
        let now = self.now();
        let was_mine = before.holder_identity.as_deref() == Some(&self.identity);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.config.duration.as_secs()).ok(),
            acquire_time: if was_mine { before.acquire_time.clone() } else { now.clone() },
            renew_time: now,
            lease_transitions: Some(
                before.lease_transitions.unwrap_or_default() + i32::from(!was_mine),
            ),
            ..before.clone()
        }
    }

    async fn read(&self) -> Result<Option<Lease>, KubeError> {
        let name = self.config.name.clone();
        match self.call(async move |api| api.get(&name).await).await {
            Ok(lease) => Ok(Some(lease)),
            Err(error) if error.fault() == Fault::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn create(&self) -> Result<(), KubeError> {
        let metadata = ObjectMeta { name: Some(self.config.name.clone()), ..ObjectMeta::default() };
        let mut spec = self.next(&LeaseSpec::default());
        spec.lease_transitions = Some(0);
        let lease = Lease { metadata, spec: Some(spec) };
        self.call(async move |api| api.create(&PostParams::default(), &lease).await).await?;
        Ok(())
    }

    /// As client-go does: nobody's, and to be taken at once.
    async fn release(&self) -> Result<(), KubeError> {
        let Some(mut lease) = self.read().await? else { return Ok(()) };
        let spec = lease.spec.take().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return Ok(());
        }
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: self.now(),
            acquire_time: self.now(),
            ..spec
        });
        let name = self.config.name.clone();
        self.call(async move |api| api.replace(&name, &PostParams::default(), &lease).await)
            .await?;
        Ok(())
    }

    async fn call<T, F>(&self, ask: impl FnOnce(Api<Lease>) -> F) -> Result<T, KubeError>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let namespace = self.config.namespace.clone();
        self.kube
            .call(async move |client| {
                let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
                ask(Api::namespaced(client, &namespace)).await
            })
            .await
    }

    fn now(&self) -> Option<MicroTime> {
        Timestamp::try_from(self.clock.now()).ok().map(MicroTime)
    }
}
