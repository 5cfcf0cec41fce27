//! Who is woken by what: the streams of one group, each with what it follows. An SVID that was renewed
//! wakes no stream that serves bundles, and a new bundle none that serves an SVID.

use crate::runtime::Bell;
use std::{collections::BTreeMap, sync::Arc};

/// What a stream follows, and what a change has touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Nothing that the cache holds.
    Nothing,
    /// Identities alone.
    Identities,
    /// Bundles alone.
    Bundles,
    /// Identities and bundles.
    Both,
}

/// The streams of one group.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    next: u64,
    bells: BTreeMap<u64, (Interest, Arc<Bell>)>,
}

/// One stream among them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watcher {
    number: u64,
    pub(super) interest: Interest,
}

impl Interest {
    /// What two follow together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, one) | (one, Self::Nothing) => one,
            (Self::Identities, Self::Identities) => Self::Identities,
            (Self::Bundles, Self::Bundles) => Self::Bundles,
            _ => Self::Both,
        }
    }

    const fn meets(self, change: Self) -> bool {
        match (self, change) {
            (Self::Nothing, _) | (_, Self::Nothing) => false,
            (Self::Both, _) | (_, Self::Both) => true,
            (Self::Identities, Self::Identities) | (Self::Bundles, Self::Bundles) => true,
            (Self::Identities, Self::Bundles) | (Self::Bundles, Self::Identities) => false,
        }
    }
}

impl Watchers {
    /// Adds a stream that follows everything.
    pub(super) fn join(&mut self, bell: &Arc<Bell>) -> Watcher {
        let watcher = Watcher { number: self.next, interest: Interest::Both };
        self.next += 1;
        self.follow(watcher, bell);
        watcher
    }

    /// Takes over what a stream follows now.
    pub(super) fn follow(&mut self, watcher: Watcher, bell: &Arc<Bell>) {
        self.bells.insert(watcher.number, (watcher.interest, Arc::clone(bell)));
    }

    /// Removes a stream.
    pub(super) fn leave(&mut self, watcher: Watcher) {
        self.bells.remove(&watcher.number);
    }

    /// Whether nobody is left.
    pub(super) fn is_empty(&self) -> bool {
        self.bells.is_empty()
    }

    /// Wakes those that follow what `change` has touched.
    pub(super) fn ring(&self, change: Interest) {
        let met = self.bells.values().filter(|(interest, _)| interest.meets(change));
        met.for_each(|(_, bell)| bell.ring());
    }

    /// Wakes everybody.
    pub(super) fn ring_all(&self) {
        self.bells.values().for_each(|(_, bell)| bell.ring());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Interest::{Both, Bundles, Identities, Nothing};
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn a_change_wakes_those_that_follow_it_and_no_other() {
        for (change, heard) in [
            (Identities, [false, true, false, true]),
            (Bundles, [false, false, true, true]),
            (Both, [false, true, true, true]),
            (Nothing, [false; 4]),
        ] {
            let mut watchers = Watchers::default();
            let bells = [Nothing, Identities, Bundles, Both].map(|interest| {
                let bell = Arc::new(Bell::default());
                let watcher = Watcher { interest, ..watchers.join(&bell) };
                watchers.follow(watcher, &bell);
                bell
            });
            watchers.ring(change);
            assert_eq!(bells.each_ref().map(|bell| bell.heard().now_or_never().is_some()), heard);
            watchers.ring_all();
            assert!(bells.iter().all(|bell| bell.heard().now_or_never().is_some()));
        }
    }

    #[test]
    fn what_two_follow_together_is_all_that_either_follows() {
        assert_eq!(Nothing.and(Bundles), Bundles);
        assert_eq!(Identities.and(Identities), Identities);
        assert_eq!(Identities.and(Bundles), Both);
        assert_eq!(Both.and(Nothing), Both);
    }
}
