//! When to renew: half of what is left of an SVID's life when it arrives, drawn once with jitter.

use std::time::{Duration, SystemTime};

/// The due time of a renewal for something received `now` that ends at `not_after`: the middle of what
/// is left, moved by up to a tenth of it either way. `draw` is a uniform number in [0, 1).
///
/// Drawn once per SVID and kept, unlike SPIRE, whose repeated draws all lean to the early side
/// (agent.md §5.4).
#[must_use]
pub fn renewal_due(now: SystemTime, not_after: SystemTime, draw: f64) -> SystemTime {
    let left = not_after.duration_since(now).unwrap_or(Duration::ZERO);
    now + left.mul_f64(0.45 + 0.1 * draw.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_due_around_the_middle_of_what_is_left() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let due = |draw| {
            renewal_due(now, now + Duration::from_secs(100), draw).duration_since(now).unwrap()
        };
        assert_eq!(due(0.0), Duration::from_secs(45));
        assert_eq!(due(1.0), Duration::from_secs(55));
        assert_eq!(renewal_due(now, now - Duration::from_secs(1), 0.5), now, "overdue is due now");
    }
}
