//! How often agents may ask for what costs the server work: token buckets, by agent once it has proved
//! who it is and by address before (behind one NAT, SPIRE lets all agents share a bucket).
//!
//! A caller waits for its turn, as with SPIRE, but no longer than `MAX_WAIT`; the texts are SPIRE's
//! (server.md §1.5). Local callers are not limited.

use super::{caller::Caller, config::RateLimit};
use crate::{spiffe::SpiffeId, transport::status::Kind};
use governor::{
    Quota, RateLimiter, clock::Clock, middleware::NoOpMiddleware, nanos::Nanos,
    state::keyed::DashMapStateStore,
};
use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Attestations of one address. SPIRE allows 1/s; a rack of new nodes behind one address should not
/// take minutes, and a token of 122 random bits is not guessed at this rate either.
const ATTESTATION: Bucket = Bucket { per_second: 10, burst: 100 };
/// CSRs of one agent: SPIRE's 500/s, which is also the largest batch.
const SIGNING: Bucket = Bucket { per_second: 500, burst: 500 };
/// Status reports of one agent: SPIRE's 10/s.
const STATUS: Bucket = Bucket { per_second: 10, burst: 10 };

/// Well below the 30 s that agents give a call, so that they learn the reason.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// Buckets that are full again are forgotten after this many calls.
const SWEEP_EVERY: u32 = 4_096;

/// The rate limits of a server. Clones share their buckets.
#[derive(Clone)]
pub struct RateLimits(Arc<Limiters>);

struct Limiters {
    attestation: Option<Limiter>,
    signing: Option<Limiter>,
    status: Limiter,
}

/// A caller that is too fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// More at once than will ever be allowed.
    #[error("rate ({rate}) exceeds burst size ({burst})")]
    Burst {
        /// How much was asked for.
        rate: usize,
        /// How much is allowed at once.
        burst: u32,
    },
    /// Its turn is too far away.
    #[error("rate: Wait(n={0}) would exceed context deadline")]
    TooFast(usize),
}

impl RateError {
    /// What the error means to the caller.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        Kind::Exhausted
    }
}

impl RateLimits {
    /// Full buckets, as far as `config` wants them.
    #[must_use]
    pub fn new(config: RateLimit) -> Self {
        Self(Arc::new(Limiters {
            attestation: config.attestation.then(|| Limiter::new(ATTESTATION)),
            signing: config.signing.then(|| Limiter::new(SIGNING)),
            status: Limiter::new(STATUS),
        }))
    }

    /// Waits until `caller` may attest. Dropping it is safe.
    ///
    /// # Errors
    /// When that would take too long.
    pub async fn attestation(&self, caller: &Caller) -> Result<(), RateError> {
        limit(self.0.attestation.as_ref(), caller, 1).await
    }

    /// Waits until `caller` may have `requests` CSRs signed. Dropping it is safe.
    ///
    /// # Errors
    /// When that would take too long, or is more than a batch may have.
    pub async fn signing(&self, caller: &Caller, requests: usize) -> Result<(), RateError> {
        limit(self.0.signing.as_ref(), caller, requests).await
    }

    /// Waits until `caller` may report its status. Dropping it is safe.
    ///
    /// # Errors
    /// When that would take too long.
    pub async fn status(&self, caller: &Caller) -> Result<(), RateError> {
        limit(Some(&self.0.status), caller, 1).await
    }
}

async fn limit(limiter: Option<&Limiter>, caller: &Caller, weight: usize) -> Result<(), RateError> {
    let (Some(limiter), Some(key)) = (limiter, Key::of(caller)) else { return Ok(()) };
    limiter.wait(key, weight).await
}

/// Whose bucket it is.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Member(SpiffeId),
    Address(IpAddr),
}

impl Key {
    fn of(caller: &Caller) -> Option<Self> {
        match caller {
            Caller::Local(_) => None,
            Caller::Anonymous { ip } => Some(Self::Address(*ip)),
            Caller::Member(member) => Some(Self::Member(member.id.clone())),
        }
    }
}

#[derive(Clone, Copy)]
struct Bucket {
    per_second: u32,
    burst: u32,
}

/// The buckets of one limit.
struct Limiter {
    bucket: Bucket,
    clock: TokioClock,
    buckets: RateLimiter<Key, DashMapStateStore<Key>, TokioClock, NoOpMiddleware<Nanos>>,
    calls: AtomicU32,
}

impl Limiter {
    fn new(bucket: Bucket) -> Self {
        let positive = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota =
            Quota::per_second(positive(bucket.per_second)).allow_burst(positive(bucket.burst));
        let clock = TokioClock(Instant::now());
        let buckets = RateLimiter::dashmap_with_clock(quota, clock.clone());
        Self { bucket, clock, buckets, calls: AtomicU32::new(0) }
    }

    async fn wait(&self, key: Key, weight: usize) -> Result<(), RateError> {
        self.sweep();
        let Some(tokens) = u32::try_from(weight).ok().and_then(NonZeroU32::new) else {
            // Nothing asked for costs nothing; more than u32 can say is certainly too much.
            return if weight == 0 { Ok(()) } else { Err(self.burst(weight)) };
        };
        let deadline = Instant::now() + MAX_WAIT;
        loop {
            let now = match self.buckets.check_key_n(&key, tokens) {
                Ok(Ok(())) => return Ok(()),
                Err(_) => return Err(self.burst(weight)),
                Ok(Err(not_until)) => not_until.wait_time_from(self.clock.now()),
            };
            if Instant::now() + now > deadline {
                return Err(RateError::TooFast(weight));
            }
            // Timers tick in milliseconds; a wait of none would spin.
            sleep(now.max(Duration::from_millis(1))).await;
        }
    }

    const fn burst(&self, rate: usize) -> RateError {
        RateError::Burst { rate, burst: self.bucket.burst }
    }

    /// Forgets, now and then, the callers that have been away for long.
    fn sweep(&self) {
        if self.calls.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.buckets.retain_recent();
        }
    }
}

/// tokio's clock, so that a paused test decides how fast is too fast.
#[derive(Clone)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: RateLimit = RateLimit { attestation: true, signing: true };

    fn from(ip: &str) -> Caller {
        Caller::Anonymous { ip: ip.parse().unwrap() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_beyond_its_burst_waits_and_the_others_do_not() {
        let limits = RateLimits::new(ON);
        let start = Instant::now();
        for _ in 0..ATTESTATION.burst {
            limits.attestation(&from("10.0.0.1")).await.unwrap();
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        limits.attestation(&from("10.0.0.1")).await.unwrap();
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(99) && waited < Duration::from_millis(150));
        limits.attestation(&from("10.0.0.2")).await.unwrap();
        assert_eq!(start.elapsed(), waited);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_larger_than_the_burst_is_refused_in_spires_words() {
        let limits = RateLimits::new(ON);
        let refused = limits.signing(&from("10.0.0.1"), 501).await.unwrap_err();
        assert_eq!(refused.to_string(), "rate (501) exceeds burst size (500)");
        limits.signing(&from("10.0.0.1"), 500).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_limit() {
        let limits = RateLimits::new(ON);
        let (caller, start) = (from("10.0.0.1"), Instant::now());
        let crowd = (0..400).map(|_| limits.attestation(&caller));
        let answers = futures_util::future::join_all(crowd).await;
        let refused = answers.iter().filter(|answer| answer.is_err()).count();
        assert!((190..=210).contains(&refused), "{refused} of 400 refused");
        assert!(start.elapsed() <= MAX_WAIT + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn local_callers_and_limits_that_are_off_cost_nothing() {
        let off = RateLimits::new(RateLimit { attestation: false, signing: false });
        let local = Caller::Local(super::super::caller::LocalPeer { pid: 1, uid: 0, gid: 0 });
        for _ in 0..1_000 {
            off.attestation(&from("10.0.0.1")).await.unwrap();
            off.signing(&from("10.0.0.1"), 600).await.unwrap();
            RateLimits::new(ON).status(&local).await.unwrap();
        }
    }
}
