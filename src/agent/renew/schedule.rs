//! When a new SVID is to be renewed. Pure.

use crate::spiffe::lifetime;
use std::time::{Duration, SystemTime};

/// Not sooner than this after it arrived, however short its life: a server whose own authority is about
/// to end would otherwise be asked in a tight loop.
const FLOOR: Duration = Duration::from_millis(250);

/// SVIDs that are due within a 16th of their life are renewed in one call, which costs both ends less
/// than many; each at the latest when its own time has come, and at the soonest after 38 % of its life.
const TOGETHER: u128 = 16;

/// When one agent renews.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rhythm {
    /// The oldest an SVID may grow.
    pub(super) cap: Option<Duration>,
    /// Where its beats start: another moment at each agent, so that they do not all ask at once.
    pub(super) start: SystemTime,
}

impl Rhythm {
    /// When an SVID that arrived `now` and ends at `not_after` is due: around the middle of what is
    /// left, at the place that `draw` in [0, 1) says, and at the last beat before it; at most the cap
    /// from now where there is one.
    #[must_use]
    pub(super) fn due(&self, now: SystemTime, not_after: SystemTime, draw: f64) -> SystemTime {
        let left = not_after.duration_since(now).unwrap_or_default();
        let by_life = self.beat(lifetime::renewal_due(now, not_after, draw), left);
        let due = self.cap.map_or(by_life, |cap| by_life.min(now + cap));
        due.max(now + FLOOR)
    }

    /// The last beat before `due`, for SVIDs of about this `life`.
    fn beat(&self, due: SystemTime, life: Duration) -> SystemTime {
        // A power of two, so that lives that differ a little have the same beat.
        let beat = 1_u128 << (life.as_millis() / TOGETHER).max(1).ilog2();
        let Ok(since) = due.duration_since(self.start) else { return due };
        let after_beat = u64::try_from(since.as_millis() % beat).unwrap_or_default();
        due - Duration::from_millis(after_beat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn the_cap_counts_when_it_is_sooner_and_the_floor_always() {
        let now = START + Duration::from_secs(1_000);
        let after = |life: u64, cap: Option<u64>| {
            let rhythm = Rhythm { cap: cap.map(Duration::from_millis), start: now };
            rhythm.due(now, now + Duration::from_secs(life), 0.5).duration_since(now).unwrap()
        };
        // The middle of 100 s, at beats of 4.096 s.
        assert_eq!(after(100, None), Duration::from_millis(12 * 4_096));
        assert_eq!(after(100, Some(1_000)), Duration::from_secs(1));
        assert_eq!(after(100, Some(80_000)), Duration::from_millis(12 * 4_096));
        assert_eq!(after(0, None), FLOOR);
        assert_eq!(after(100, Some(0)), FLOOR);
    }

    #[test]
    fn svids_that_are_due_at_about_the_same_time_are_due_together() {
        let rhythm = Rhythm { cap: None, start: START };
        let now = START + Duration::from_secs(1_000);
        let due = |draw| rhythm.due(now, now + Duration::from_secs(3_600), draw);
        let mut times: Vec<_> = (0..1_000_u32).map(|n| due(f64::from(n) / 1_000.0)).collect();
        times.dedup();
        // A tenth of an hour, at beats of 131.072 s.
        assert!((3..=4).contains(&times.len()), "{}", times.len());
        let elsewhere = Rhythm { start: START + Duration::from_secs(7), ..rhythm };
        assert_ne!(elsewhere.due(now, now + Duration::from_secs(3_600), 0.5), due(0.5));
    }
}
