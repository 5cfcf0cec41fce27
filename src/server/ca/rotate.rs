//! What to do next about the authority, and when: a pure function of the time and of what exists.
//!
//! ```text
//!              Prepare            Publish             Activate
//!  (nothing) ----------> prepared ----------> published ----------> active ----------> old
//!             key, journal         bundle                 journal            (journal)
//! ```
//!
//! - The schedule is SPIRE's: the next authority is prepared when half of the active one's life is left
//!   (at most 30 days before its end) and activated when a sixth is left (at most 7 days).
//! - An authority signs for workloads only after the bundle that holds it had the time to reach
//!   everybody: agents that poll have the propagation time; agents that hold a watch stream
//!   acknowledge, and one that is behind is waited for as long once more.
//! - The first authority of a trust domain has nobody to wait for and is activated at once. One that
//!   follows after a gap, because the last ended while the server was down or its key was lost, is
//!   waited for like any other: somebody may still hold only the old bundle.
//!
//! Reads no clock, knows no key and does no I/O: `driver` does.

use std::time::{Duration, SystemTime};

/// When an authority was issued and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// When it was issued; its certificate is back-dated.
    pub issued_at: SystemTime,
    /// Its last valid moment.
    pub not_after: SystemTime,
}

/// What is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a bundle takes to reach an agent that polls.
    pub propagation: Duration,
    /// The life of the SVIDs that are signed, which should fit into what is left of the authority.
    pub svid_ttl: Duration,
}

/// What exists now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    /// The wall time.
    pub now: SystemTime,
    /// The authority that signs, if there is one.
    pub active: Option<Life>,
    /// The authority that shall follow it.
    pub prepared: Option<Prepared>,
}

/// The authority that shall follow the active one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// When it was issued and ends.
    pub life: Life,
    /// Its place in the stored bundle, if it has one.
    pub publication: Option<Publication>,
}

/// How far the bundle with a prepared authority has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// How long ago it was stored. A duration, so that a jump of the wall clock cannot shorten it.
    pub age: Duration,
    /// What connected agents say.
    pub reach: Reach,
    /// Whom it replaces.
    pub audience: Audience,
}

/// What connected agents say about the bundle with a prepared authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// None that would acknowledge it is known to lack it.
    Acknowledged,
    /// At least one has not acknowledged it.
    Lagging,
}

/// Whether somebody trusts another authority of this trust domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Nobody: it is the only authority that the bundle ever held.
    Nobody,
    /// Those who hold an older bundle.
    Existing,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Make a key and a certificate and write both down.
    Prepare,
    /// Add the prepared authority to the bundle.
    Publish,
    /// Let the prepared authority sign and retire the active one.
    Activate,
    /// Nothing, for so long.
    Wait(Duration),
}

// SPIRE 1.15, pkg/server/ca/manager: preparationThreshold* and activationThreshold*.
const PREPARE_AT_MOST_BEFORE_END: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const ACTIVATE_AT_MOST_BEFORE_END: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const ACTIVATION_DIVISOR: u32 = 6;

impl Life {
    fn span(&self) -> Duration {
        self.not_after.duration_since(self.issued_at).unwrap_or_default()
    }

    /// When the next authority is prepared.
    #[must_use]
    pub fn prepare_at(&self) -> SystemTime {
        self.not_after - (self.span() / 2).min(PREPARE_AT_MOST_BEFORE_END)
    }

    /// When the next authority is due to sign.
    #[must_use]
    pub fn activate_at(&self) -> SystemTime {
        self.not_after - (self.span() / ACTIVATION_DIVISOR).min(ACTIVATE_AT_MOST_BEFORE_END)
    }

    /// Until when an agent that lags is waited for: later, SVIDs would be cut short. Half of the time
    /// after the due activation always remains to wait in.
    fn last_call(&self, svid_ttl: Duration) -> SystemTime {
        self.not_after - svid_ttl.min(self.span() / (ACTIVATION_DIVISOR * 2))
    }
}

/// What to do next in this situation.
#[must_use]
pub fn next(situation: &Situation, timing: &Timing) -> Next {
    let now = situation.now;
    let active = situation.active.filter(|life| now <= life.not_after);
    let prepared = situation.prepared.filter(|prepared| now <= prepared.life.not_after);
    let Some(prepared) = prepared else {
        return active.map_or(Next::Prepare, |life| due(now, life.prepare_at(), Next::Prepare));
    };
    let Some(publication) = prepared.publication else { return Next::Publish };
    if active.is_none() && publication.audience == Audience::Nobody {
        return Next::Activate;
    }
    // Half-way through the time between a due activation and the end at the latest, however short an
    // authority's life is configured.
    let propagation = timing.propagation.min(prepared.life.span() / ACTIVATION_DIVISOR);
    let settled = if publication.age < propagation {
        now + (propagation - publication.age)
    } else {
        now - (publication.age - propagation)
    };
    let earliest = active.map_or(settled, |life| life.activate_at().max(settled));
    let at = match (publication.reach, active) {
        (Reach::Acknowledged, _) => earliest,
        (Reach::Lagging, None) => earliest + propagation,
        (Reach::Lagging, Some(life)) => {
            (earliest + propagation).min(life.last_call(timing.svid_ttl)).max(earliest)
        }
    };
    due(now, at, Next::Activate)
}

fn due(now: SystemTime, at: SystemTime, action: Next) -> Next {
    match at.duration_since(now) {
        Ok(wait) if !wait.is_zero() => Next::Wait(wait),
        _ => action,
    }
}

#[cfg(test)]
mod tests;
