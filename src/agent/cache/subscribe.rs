//! Subscriptions: a caller's selectors, and the view that belongs to them as it changes.

use super::{
    groups::Member,
    state::Cache,
    view::View,
    watchers::{Interest, Watcher},
};
use crate::{
    runtime::{Bell, Reader},
    spiffe::SelectorSet,
};
use std::sync::{Arc, atomic::Ordering};

/// One stream's interest in the identities of its selectors. While it lives, SVIDs for the entries
/// that match are kept ready.
pub struct Subscription {
    view: Reader<Arc<View>>,
    watcher: Watcher,
    bell: Arc<Bell>,
    selectors: SelectorSet,
    cache: Cache,
}

/// The agent ends: there will be no other view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the agent is shutting down")]
pub struct CacheEnded;

impl Cache {
    /// Subscribes a caller that has `selectors` to everything of theirs. Never waits.
    #[must_use]
    pub fn subscribe(&self, selectors: &SelectorSet) -> Subscription {
        self.subscribe_by(selectors, Arc::new(Bell::default()))
    }

    fn subscribe_by(&self, selectors: &SelectorSet, bell: Arc<Bell>) -> Subscription {
        let (Member { view, watcher }, has_work) = {
            let mut state = self.0.state.lock();
            let before = state.due.next_due();
            let member = state.join(selectors, &bell, &self.0.config);
            (member, state.due.next_due() != before)
        };
        if has_work {
            self.announce_work();
        }
        Subscription { view, watcher, bell, selectors: selectors.clone(), cache: self.clone() }
    }

    /// Ends every subscription, those to come included.
    pub fn end(&self) {
        self.0.has_ended.store(true, Ordering::Release);
        self.0.state.lock().groups.values().for_each(|group| group.watchers.ring_all());
    }
}

impl Subscription {
    /// The view as it is now; a change until now no longer wakes [`Subscription::changed`].
    pub fn current(&mut self) -> Arc<View> {
        self.bell.silence();
        self.view.current()
    }

    /// Wakes [`Subscription::changed`] for `interest` alone from now on.
    pub fn follow(&mut self, interest: Interest) {
        if self.watcher.interest != interest {
            self.watcher.interest = interest;
            self.cache.0.state.lock().follow(&self.selectors, self.watcher, &self.bell);
        }
    }

    /// The caller has `selectors` now, and [`Subscription::current`] is the view that belongs to them.
    pub fn move_to(&mut self, selectors: &SelectorSet) {
        let interest = self.watcher.interest;
        let mut moved = self.cache.subscribe_by(selectors, Arc::clone(&self.bell));
        moved.follow(interest);
        // What is left behind is the place among the last ones.
        *self = moved;
    }

    /// Waits until what is followed may have changed or somebody else rang the bell. Dropping it is safe.
    ///
    /// # Errors
    /// [`CacheEnded`] when the agent ends.
    pub async fn changed(&mut self) -> Result<Arc<View>, CacheEnded> {
        let has_ended = || self.cache.0.has_ended.load(Ordering::Acquire);
        // Whoever ends the cache rings after saying so.
        if !has_ended() {
            self.bell.heard().await;
        }
        if has_ended() { Err(CacheEnded) } else { Ok(self.view.current()) }
    }

    /// What wakes [`Subscription::changed`], for those who have something else to say to its stream.
    #[must_use]
    pub const fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// The selectors that were subscribed.
    #[must_use]
    pub const fn selectors(&self) -> &SelectorSet {
        &self.selectors
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let state = &self.cache.0.state;
        state.lock().leave(&self.selectors, self.watcher, &self.cache.0.config);
    }
}
