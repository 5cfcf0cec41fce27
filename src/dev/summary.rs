//! The last word of `finial dev`: what was sent, what was rotated, how long it took.

use super::{
    mesh::{BySide, Side},
    progress::Progress,
};
use serde::Serialize;
use std::time::Duration;

/// What came of it, as JSON has it.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// How long requests were sent, in seconds.
    pub seconds: f64,
    /// Requests answered or failed.
    pub requests: u64,
    /// Those that failed.
    pub failed: u64,
    /// Full handshakes that the server Envoy made; one for each request.
    pub handshakes: u64,
    /// Handshakes that checked nobody because a session was resumed.
    pub sessions_resumed: u64,
    /// How often each side took a new certificate into use: the smaller number of the two.
    pub svid_rotations: u64,
    /// The same for each side.
    pub svid_rotations_by_side: BySide<u64>,
    /// Pushes that were not in use within 2 s.
    pub late: u64,
    /// How often another authority has taken over.
    pub ca_rotations: u64,
    /// From push to use.
    pub push_to_use_ms: Millis,
    /// The first failures.
    pub failures: Vec<String>,
}

/// Delays in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Millis {
    /// Half of them are no longer than this.
    pub p50: f64,
    /// 99 of 100 are no longer than this.
    pub p99: f64,
}

/// What the server Envoy counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handshakes {
    /// All.
    pub total: u64,
    /// Those that resumed a session.
    pub resumed: u64,
}

impl Summary {
    /// The account of everything until `end`, with what the server Envoy counted and the first failures.
    #[must_use]
    pub fn new(end: &Progress, handshakes: Handshakes, failures: Vec<String>) -> Self {
        let rotations = BySide::each(|side| end.sides.of(side).rotations);
        let millis = |delay: Duration| (delay.as_secs_f64() * 1e5).round() / 1e2;
        Self {
            seconds: (end.elapsed.as_secs_f64() * 10.0).round() / 10.0,
            requests: end.requests,
            failed: end.failed,
            handshakes: handshakes.total,
            sessions_resumed: handshakes.resumed,
            svid_rotations: rotations.client.min(rotations.server),
            svid_rotations_by_side: rotations,
            late: Side::BOTH.iter().map(|side| end.sides.of(*side).late).sum(),
            ca_rotations: end.authority.rotations,
            push_to_use_ms: Millis {
                p50: millis(end.push_to_use.p50),
                p99: millis(end.push_to_use.p99),
            },
            failures,
        }
    }

    /// Whether no request was lost, and each had a handshake in which the peers checked each other.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.failed == 0 && self.handshakes >= self.requests && self.sessions_resumed == 0
    }

    /// The same for people.
    #[must_use]
    pub fn text(&self) -> String {
        let verdict = if self.is_clean() { "no request was lost" } else { "NOT CLEAN" };
        let mut text = format!(
            "\n{verdict}: {} requests in {} s, {} failed; {} TLS handshakes, {} of them resumed\n\
             {} certificate rotations on each side, {} CA rotations\n\
             from push to use: p50 {} ms, p99 {} ms\n",
            self.requests,
            self.seconds,
            self.failed,
            self.handshakes,
            self.sessions_resumed,
            self.svid_rotations,
            self.ca_rotations,
            self.push_to_use_ms.p50,
            self.push_to_use_ms.p99,
        );
        if self.late > 0 {
            text.push_str(&format!("{} pushes were not in use within 2 s\n", self.late));
        }
        for failure in &self.failures {
            text.push_str(&format!("  {failure}\n"));
        }
        text
    }
}
