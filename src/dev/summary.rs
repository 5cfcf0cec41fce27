//! The last word of `finial dev`: what was sent, what was rotated, how long it took.

use super::tally::Counts;
use serde::Serialize;
use std::time::Duration;

/// What happened, as JSON has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Requests sent through both Envoys, each over a fresh TLS handshake.
    pub requests: u64,
    /// Those that were not answered with 200.
    pub failed: u64,
    /// New leaves that an Envoy took into use, of the side with fewer.
    pub svid_rotations: u64,
    /// Changes of the signing authority.
    pub ca_rotations: u64,
    /// From the agent's change to the certificate in use, in milliseconds.
    pub push_to_use_ms: Percentiles,
    /// New leaves that were not in use after 2 s.
    pub late_rotations: u64,
    /// How long it ran, in seconds.
    pub seconds: f64,
}

/// The middle and the slow end of many durations, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half took no longer.
    pub p50: f64,
    /// 99 in 100 took no longer.
    pub p99: f64,
}

impl Summary {
    pub(super) fn new(
        requests: u64,
        failed: u64,
        counts: &Counts,
        ca_rotations: u64,
        ran: Duration,
    ) -> Self {
        Self {
            requests,
            failed,
            svid_rotations: counts.rotations.client.min(counts.rotations.server),
            ca_rotations,
            push_to_use_ms: Percentiles::of(&counts.push_to_use),
            late_rotations: counts.late,
            seconds: (ran.as_secs_f64() * 10.0).round() / 10.0,
        }
    }

    /// The same for people.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "{} requests in {:.0} s, {} failed\n\
             {} SVID rotations on each side, {} not in use in time, {} CA rotations\n\
             from push to use: p50 {:.1} ms, p99 {:.1} ms\n",
            self.requests,
            self.seconds,
            self.failed,
            self.svid_rotations,
            self.late_rotations,
            self.ca_rotations,
            self.push_to_use_ms.p50,
            self.push_to_use_ms.p99,
        )
    }
}

impl Percentiles {
    fn of(durations: &[Duration]) -> Self {
        let mut sorted = durations.to_vec();
        sorted.sort_unstable();
        let at = |share: usize| {
            let index = (sorted.len() * share / 100).min(sorted.len().saturating_sub(1));
            let millis = sorted.get(index).map_or(0.0, |took| took.as_secs_f64() * 1_000.0);
            (millis * 100.0).round() / 100.0
        };
        Self { p50: at(50), p99: at(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_few_and_of_none() {
        let millis = |ms: &[u64]| {
            Percentiles::of(&ms.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>())
        };
        assert_eq!(millis(&[]), Percentiles { p50: 0.0, p99: 0.0 });
        assert_eq!(millis(&[7]), Percentiles { p50: 7.0, p99: 7.0 });
        let hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(millis(&hundred), Percentiles { p50: 51.0, p99: 100.0 });
    }
}
