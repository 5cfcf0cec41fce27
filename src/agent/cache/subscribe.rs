//! Subscriptions: a caller's selectors, and the view that belongs to them as it changes.

use super::{state::Cache, view::View};
use crate::{
    runtime::{Reader, publish::WriterGone},
    spiffe::SelectorSet,
};
use std::sync::Arc;

/// One stream's interest in the identities of its selectors. While it lives, SVIDs for the entries
/// that match are kept ready.
pub struct Subscription {
    view: Reader<Arc<View>>,
    selectors: SelectorSet,
    cache: Cache,
}

impl Cache {
    /// Subscribes a caller that has `selectors`. Never waits.
    #[must_use]
    pub fn subscribe(&self, selectors: &SelectorSet) -> Subscription {
        let (view, has_work) = {
            let mut state = self.0.state.lock();
            let before = state.due.next_due();
            let view = state.join(selectors, &self.0.config);
            (view, state.due.next_due() != before)
        };
        if has_work {
            self.announce_work();
        }
        Subscription { view, selectors: selectors.clone(), cache: self.clone() }
    }
}

impl Subscription {
    /// The view as it is now; a change until now no longer wakes [`Subscription::changed`].
    pub fn current(&mut self) -> Arc<View> {
        self.view.take_current()
    }

    /// Waits for the next view. Dropping it is safe.
    ///
    /// # Errors
    /// [`WriterGone`] when the cache is gone, which is when the agent ends.
    pub async fn changed(&mut self) -> Result<Arc<View>, WriterGone> {
        self.view.changed().await
    }

    /// The selectors that were subscribed.
    #[must_use]
    pub const fn selectors(&self) -> &SelectorSet {
        &self.selectors
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.cache.0.state.lock().leave(&self.selectors, &self.cache.0.config);
    }
}
