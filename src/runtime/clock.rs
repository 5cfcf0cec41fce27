//! The only place that reads the wall clock, and the bridge between wall time and tokio's timers.
//!
//! Certificates speak wall time, timers speak monotonic time. A [`Clock`] converts between them, so a
//! test that pauses tokio's clock moves both. Refuses to know what the times mean.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Tells the time. Cloned into every component whose logic depends on it.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    /// The machine's clock, jumps included.
    System,
    /// Wall time derived from tokio's clock, which tests pause and advance.
    Anchored { wall: SystemTime, instant: Instant },
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that shows `wall` now and afterwards follows tokio's clock, paused or not.
    #[must_use]
    pub fn anchored_at(wall: SystemTime) -> Self {
        Self(Source::Anchored { wall, instant: Instant::now() })
    }

    /// The wall time now.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
            Source::System => SystemTime::now(),
            Source::Anchored { wall, instant } => *wall + instant.elapsed(),
        }
    }

    /// The wall time now in whole seconds since the Unix epoch, as certificates and SPIRE's API count.
    #[must_use]
    pub fn unix_now(&self) -> i64 {
        unix_secs(self.now())
    }

    /// The tokio instant at which this clock will show `wall`; now if that is past.
    #[must_use]
    pub fn instant_of(&self, wall: SystemTime) -> Instant {
        Instant::now() + wall.duration_since(self.now()).unwrap_or(Duration::ZERO)
    }
}

/// Whole seconds since the Unix epoch, negative before it, rounded towards the past.
#[must_use]
pub fn unix_secs(wall: SystemTime) -> i64 {
    match wall.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => {
            let gap = before.duration();
            let whole = i64::try_from(gap.as_secs()).unwrap_or(i64::MAX);
            if gap.subsec_nanos() == 0 { -whole } else { -whole - 1 }
        }
    }
}

/// The wall time `secs` seconds after (or before) the Unix epoch.
#[must_use]
pub fn from_unix_secs(secs: i64) -> SystemTime {
    let gap = Duration::from_secs(secs.unsigned_abs());
    if secs >= 0 { UNIX_EPOCH + gap } else { UNIX_EPOCH - gap }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_anchored_clock_follows_the_paused_timer() {
        let clock = Clock::anchored_at(from_unix_secs(1_000));
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.unix_now(), 1_090);
        let due = clock.instant_of(from_unix_secs(1_100));
        assert_eq!(due - Instant::now(), Duration::from_secs(10));
        assert_eq!(clock.instant_of(from_unix_secs(5)), Instant::now(), "the past is due now");
    }

    #[test]
    fn unix_seconds_round_towards_the_past_on_both_sides_of_the_epoch() {
        for secs in [-2, -1, 0, 1, 1_795_366_673] {
            assert_eq!(unix_secs(from_unix_secs(secs)), secs);
        }
        assert_eq!(unix_secs(UNIX_EPOCH - Duration::from_millis(1)), -1);
        assert_eq!(unix_secs(UNIX_EPOCH + Duration::from_millis(1_999)), 1);
    }
}
