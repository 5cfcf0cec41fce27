//! Who may call what: one static table, and for agents whether they are still the agent they attested
//! as. Asked for every request, whatever its connection proved before.
//!
//! Reads nodes and entries from memory. The only thing it writes is the promotion of a renewed SVID's
//! serial at its first use (server.md §1.4).

use super::{
    admins::Admins,
    caller::{Caller, Member},
    store::{Node, Store},
};
use crate::{
    runtime::Clock,
    spiffe::{SpiffeId, TrustDomain},
    transport::status::{Kind, Reason},
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tonic::Status;

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Everybody, with or without a certificate.
    Anyone,
    /// Attested agents.
    Agents,
    /// Attested agents, administrators and local callers.
    AgentsAndAdmins,
    /// Administrators, which an entry with `admin` makes, and local callers.
    Admins,
    /// Local callers only.
    Local,
}

/// Every method and who may call it (server.md §1.3). What is not in here nobody can call.
pub const METHODS: &[(&str, Allowed)] = &[
    ("/finial.agent.v1.Watch/Watch", Allowed::Agents),
    ("/grpc.health.v1.Health/Check", Allowed::Local),
    ("/grpc.health.v1.Health/Watch", Allowed::Local),
    ("/spire.api.server.agent.v1.Agent/AttestAgent", Allowed::Anyone),
    ("/spire.api.server.agent.v1.Agent/BanAgent", Allowed::Admins),
    ("/spire.api.server.agent.v1.Agent/CountAgents", Allowed::Admins),
    ("/spire.api.server.agent.v1.Agent/CreateJoinToken", Allowed::Admins),
    ("/spire.api.server.agent.v1.Agent/DeleteAgent", Allowed::Admins),
    ("/spire.api.server.agent.v1.Agent/GetAgent", Allowed::Admins),
    ("/spire.api.server.agent.v1.Agent/ListAgents", Allowed::Admins),
    ("/spire.api.server.agent.v1.Agent/PostStatus", Allowed::Agents),
    ("/spire.api.server.agent.v1.Agent/RenewAgent", Allowed::Agents),
    ("/spire.api.server.bundle.v1.Bundle/CountBundles", Allowed::Admins),
    ("/spire.api.server.bundle.v1.Bundle/GetBundle", Allowed::Anyone),
    ("/spire.api.server.bundle.v1.Bundle/GetFederatedBundle", Allowed::AgentsAndAdmins),
    ("/spire.api.server.entry.v1.Entry/BatchCreateEntry", Allowed::Admins),
    ("/spire.api.server.entry.v1.Entry/BatchDeleteEntry", Allowed::Admins),
    ("/spire.api.server.entry.v1.Entry/BatchUpdateEntry", Allowed::Admins),
    ("/spire.api.server.entry.v1.Entry/CountEntries", Allowed::Admins),
    ("/spire.api.server.entry.v1.Entry/GetAuthorizedEntries", Allowed::Agents),
    ("/spire.api.server.entry.v1.Entry/GetEntry", Allowed::Admins),
    ("/spire.api.server.entry.v1.Entry/ListEntries", Allowed::Admins),
    ("/spire.api.server.entry.v1.Entry/SyncAuthorizedEntries", Allowed::Agents),
    ("/spire.api.server.svid.v1.SVID/BatchNewX509SVID", Allowed::Agents),
];

/// How long the SVID that a renewed one replaced is still good, for the calls that were on their way.
const REPLACED_FOR: Duration = Duration::from_secs(60);

/// Answers whether a caller may call a method. Clones share their memory.
#[derive(Clone)]
pub struct Authorizer(Arc<Shared>);

struct Shared {
    store: Store,
    admins: Admins,
    trust_domain: TrustDomain,
    clock: Clock,
    replaced: Mutex<HashMap<SpiffeId, Replaced>>,
}

/// A serial that was replaced a moment ago.
struct Replaced {
    old: String,
    by: String,
    until: SystemTime,
}

/// What an agent's certificate is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the one in use.
    Current,
    /// It is the renewed one, used for the first time: to be promoted.
    Renewed,
    /// A renewed one has replaced it a moment ago.
    Replaced,
}

/// Why a request is denied. The words go to the log; the caller learns the method and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No rule allows the caller this method.
    NotAllowed,
    /// The certificate has ended.
    Expired,
    /// There is no such agent.
    NotAttested,
    /// An operator has banned the agent.
    Banned,
    /// The certificate is not the agent's current one.
    NotActive {
        /// The serial in use.
        expected: String,
        /// The serial of the certificate.
        found: String,
    },
}

impl Authorizer {
    /// An authorizer for agents of `trust_domain` that `store` knows.
    #[must_use]
    pub fn new(store: Store, trust_domain: TrustDomain, clock: Clock) -> Self {
        let admins = Admins::new(store.clone(), clock.clone());
        let replaced = Mutex::default();
        Self(Arc::new(Shared { store, admins, trust_domain, clock, replaced }))
    }

    /// Decides whether `caller` may call `method`. Dropping it is safe.
    ///
    /// # Errors
    /// PERMISSION_DENIED, with the reason when an agent is denied as an agent. UNIMPLEMENTED, to
    /// everybody, for a method that the table does not have: an operator whose command needs what is not
    /// built would look in vain for a right that is missing.
    pub async fn authorize(&self, method: &str, caller: &Caller) -> Result<(), Status> {
        let Some(rule) = allowed(method) else {
            tracing::debug!(method, ?caller, "unknown method");
            return Err(unknown(method));
        };
        match self.decide(rule, caller) {
            Ok(Some(member)) => {
                self.promote(member).await;
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(denial) => {
                let id = caller.id().map(SpiffeId::as_str);
                tracing::warn!(method, ?caller, id, reason = %denial, "request denied");
                Err(denial.status(format!("authorization denied for method {method}")))
            }
        }
    }

    /// What the certificate of an agent is worth now.
    ///
    /// # Errors
    /// Why it is worth nothing.
    pub fn standing(&self, member: &Member) -> Result<Standing, Denial> {
        let now = self.0.clock.now();
        if member.not_after < now {
            return Err(Denial::Expired);
        }
        let node = self.0.store.node(&member.id).ok_or(Denial::NotAttested)?;
        if node.banned {
            return Err(Denial::Banned);
        }
        let found = member.serial.to_string();
        if found == node.serial {
            return Ok(Standing::Current);
        }
        if found == node.new_serial {
            return Ok(Standing::Renewed);
        }
        if self.was_replaced(&node, &found, now) {
            return Ok(Standing::Replaced);
        }
        Err(Denial::NotActive { expected: node.serial.clone(), found })
    }

    /// The member whose renewed SVID is to be promoted, if the caller is allowed by being one.
    fn decide<'a>(&self, rule: Allowed, caller: &'a Caller) -> Result<Option<&'a Member>, Denial> {
        if rule == Allowed::Anyone {
            return Ok(None);
        }
        match caller {
            Caller::Anonymous { .. } => Err(Denial::NotAllowed),
            Caller::Local(_) if rule == Allowed::Agents => Err(Denial::NotAllowed),
            Caller::Local(_) => Ok(None),
            Caller::Member(member) => self.decide_member(rule, member),
        }
    }

    fn decide_member<'a>(
        &self,
        rule: Allowed,
        member: &'a Member,
    ) -> Result<Option<&'a Member>, Denial> {
        let (for_agents, for_admins) = match rule {
            Allowed::Agents => (true, false),
            Allowed::AgentsAndAdmins => (true, true),
            Allowed::Admins => (false, true),
            Allowed::Anyone | Allowed::Local => (false, false),
        };
        // A foreign member's bundle may have let its handshake pass; it is nobody here.
        if !member.id.is_member_of(&self.0.trust_domain) {
            return Err(Denial::NotAllowed);
        }
        let as_agent = if for_agents { self.standing(member) } else { Err(Denial::NotAllowed) };
        match as_agent {
            Ok(standing) => Ok((standing == Standing::Renewed).then_some(member)),
            Err(_) if for_admins && self.is_admin(member) => Ok(None),
            Err(denial) => Err(denial),
        }
    }

    /// An agent never is one: entries cannot give reserved identities.
    fn is_admin(&self, member: &Member) -> bool {
        !member.id.is_reserved()
            && member.not_after >= self.0.clock.now()
            && self.0.admins.contains(&member.id)
    }

    /// Makes the serial of a renewed SVID the current one. Should that fail, the next use tries again.
    async fn promote(&self, member: &Member) {
        let Some(node) = self.0.store.node(&member.id) else { return };
        let serial = member.serial.to_string();
        if node.new_serial != serial {
            return;
        }
        let now = self.0.clock.now();
        let replaced =
            Replaced { old: node.serial.clone(), by: serial.clone(), until: now + REPLACED_FOR };
        {
            let mut all = self.0.replaced.lock();
            all.retain(|_, replaced| replaced.until >= now);
            all.insert(member.id.clone(), replaced);
        }
        if let Err(error) = self.0.store.promote_serial(&member.id, serial).await {
            tracing::warn!(id = %member.id, %error, "the agent's renewed serial was not stored");
        }
    }

    fn was_replaced(&self, node: &Node, serial: &str, now: SystemTime) -> bool {
        let replaced = self.0.replaced.lock();
        replaced.get(&node.id).is_some_and(|replaced| {
            replaced.old == serial && replaced.by == node.serial && now <= replaced.until
        })
    }
}

/// The rule for a method; `None` when there is none.
fn allowed(method: &str) -> Option<Allowed> {
    let index = METHODS.binary_search_by_key(&method, |(name, _)| name).ok()?;
    METHODS.get(index).map(|(_, rule)| *rule)
}

/// In the words of grpc-go, which SPIRE's clients know.
fn unknown(method: &str) -> Status {
    let (service, name) = method.trim_start_matches('/').rsplit_once('/').unwrap_or_default();
    Kind::Unsupported.status(format!("unknown method {name} for service {service}"))
}

impl Denial {
    /// The reason that an agent can act on, if there is one.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::NotAllowed => None,
            Self::Expired => Some(Reason::AgentExpired),
            Self::NotAttested => Some(Reason::AgentNotAttested),
            Self::Banned => Some(Reason::AgentBanned),
            Self::NotActive { .. } => Some(Reason::AgentNotActive),
        }
    }

    /// PERMISSION_DENIED with the reason, if there is one.
    #[must_use]
    pub fn status(&self, message: impl Into<String>) -> Status {
        match self.reason() {
            Some(reason) => reason.status(message),
            None => Kind::Denied.status(message),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed => f.write_str("no rule allows it"),
            Self::Expired => f.write_str("the agent's certificate has expired"),
            Self::NotAttested => f.write_str("the agent is not attested"),
            Self::Banned => f.write_str("the agent is banned"),
            Self::NotActive { expected, found } => {
                write!(f, "expected to have serial number {expected:?}; has {found:?}")
            }
        }
    }
}
