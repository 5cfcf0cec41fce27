//! How long to wait before trying again: exponential with full jitter, capped.
//!
//! Knows nothing of what is retried. Full jitter spreads a fleet that lost the same server
//! evenly over the whole interval instead of in waves.

use std::time::Duration;

/// The waits of one retry loop. The first failure waits up to `base`, each further one up to twice as
/// long, never more than `cap`.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// A loop that has not failed yet.
    #[must_use]
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// The wait before the next try, drawn anew each time: between a fifth of the ceiling and the
    /// ceiling, so that a retry is never immediate and never predictable.
    pub fn next_delay(&mut self) -> Duration {
        let ceiling = self.base.saturating_mul(1 << self.failures.min(16)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(0.2 + 0.8 * uniform())
    }

    /// Forgets the failures: the thing that was retried works again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A duration drawn uniformly from `base` ± `fraction` of it; `fraction` is clamped to 0–1.
#[must_use]
pub fn jittered(base: Duration, fraction: f64) -> Duration {
    base.mul_f64(1.0 + fraction.clamp(0.0, 1.0) * (2.0 * uniform() - 1.0))
}

/// A uniform number in [0, 1). When the system has no randomness to give it is 0.5: a wait without
/// jitter is better than none.
#[must_use]
pub fn uniform() -> f64 {
    let mut bytes = [0_u8; 4];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_cap_and_start_over_after_a_reset() {
        let (base, cap) = (Duration::from_millis(100), Duration::from_secs(30));
        let mut backoff = Backoff::new(base, cap);
        for failures in 0..40 {
            let ceiling = base.saturating_mul(1 << failures.min(16)).min(cap);
            let delay = backoff.next_delay();
            assert!(delay <= ceiling && delay >= ceiling / 6, "{delay:?} after {failures}");
        }
        backoff.reset();
        assert!(backoff.next_delay() <= base);
    }

    #[test]
    fn jitter_is_spread_over_the_whole_range() {
        let draws: Vec<_> = (0..200).map(|_| jittered(Duration::from_secs(1), 0.1)).collect();
        assert!(draws.iter().any(|d| *d < Duration::from_millis(950)));
        assert!(draws.iter().any(|d| *d > Duration::from_millis(1_050)));
        assert!(draws.iter().all(|d| (900..=1_100).contains(&d.as_millis())));
    }
}
