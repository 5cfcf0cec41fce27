//! When a kind is done without: the API server has refused it, or does not know it, for a while, and has
//! never given it since the start. What was ever given is never given up: a refusal then is a fault of
//! the moment, and everything stays as it was. Pure.

use std::time::Duration;
use tokio::time::Instant;

/// How long a kind has been refused.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    since: Option<Instant>,
    was_given: bool,
    is_renounced: bool,
}

/// An API server that starts answers 404 for custom resources until it has read their definitions.
const RENOUNCE_AFTER: Duration = Duration::from_secs(10);

impl Refusals {
    /// The kind was listed.
    pub(super) const fn given(&mut self) {
        (self.since, self.was_given) = (None, true);
    }

    /// It failed with this HTTP status at `now`. `true` once: it is time to do without it.
    pub(super) fn failed(&mut self, status: Option<u16>, now: Instant) -> bool {
        if !matches!(status, Some(403 | 404)) {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let is_time =
            !self.was_given && !self.is_renounced && now.duration_since(since) >= RENOUNCE_AFTER;
        self.is_renounced |= is_time;
        is_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_is_refused_from_the_start_is_renounced_once() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        assert!(!refusals.failed(Some(403), now));
        assert!(!refusals.failed(Some(403), now + RENOUNCE_AFTER / 2));
        assert!(refusals.failed(Some(404), now + RENOUNCE_AFTER));
        assert!(!refusals.failed(Some(404), now + RENOUNCE_AFTER * 2));
    }

    #[test]
    fn other_failures_and_what_was_given_once_are_no_reason() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        assert!(!refusals.failed(Some(404), now));
        assert!(!refusals.failed(None, now + RENOUNCE_AFTER));
        assert!(!refusals.failed(Some(404), now + RENOUNCE_AFTER), "it begins anew");
        refusals.given();
        assert!(!refusals.failed(Some(403), now));
        assert!(!refusals.failed(Some(403), now + RENOUNCE_AFTER * 9));
    }
}
