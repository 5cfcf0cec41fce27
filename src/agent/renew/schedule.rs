//! When a new SVID is to be renewed. Pure.

use crate::spiffe::lifetime;
use std::time::{Duration, SystemTime};

/// Not sooner than this after it arrived, however short its life: a server whose own authority is about
/// to end would otherwise be asked in a tight loop.
const FLOOR: Duration = Duration::from_millis(250);

/// When an SVID that arrived `now` and ends at `not_after` is due: around the middle of what is left,
/// at the place that `draw` in [0, 1) says, and at most `cap` from now where there is one.
#[must_use]
pub fn due(now: SystemTime, not_after: SystemTime, draw: f64, cap: Option<Duration>) -> SystemTime {
    let by_life = lifetime::renewal_due(now, not_after, draw);
    let due = cap.map_or(by_life, |cap| by_life.min(now + cap));
    due.max(now + FLOOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_counts_when_it_is_sooner_and_the_floor_always() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let after = |life: u64, cap: Option<u64>| {
            let cap = cap.map(Duration::from_millis);
            due(now, now + Duration::from_secs(life), 0.5, cap).duration_since(now).unwrap()
        };
        assert_eq!(after(100, None), Duration::from_secs(50));
        assert_eq!(after(100, Some(1_000)), Duration::from_secs(1));
        assert_eq!(after(100, Some(80_000)), Duration::from_secs(50));
        assert_eq!(after(0, None), FLOOR);
        assert_eq!(after(100, Some(0)), FLOOR);
    }
}
