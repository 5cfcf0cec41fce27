//! Readiness: a program is ready when each of its named parts has said so, and can say what it lacks.
//!
//! A part that is dropped before it was ready stays in the list of what is missing: failure to start
//! must never look like success.

use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};

/// What a program still waits for. Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, String>>>);

/// One part's entry in the list; it removes itself by [`Part::ready`].
#[derive(Debug)]
pub struct Part {
    name: &'static str,
    readiness: Readiness,
}

impl Readiness {
    /// Nothing to wait for yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part that must become ready; `reason` says what it waits for.
    pub fn part(&self, name: &'static str, reason: impl Into<String>) -> Part {
        self.0.lock().insert(name, reason.into());
        Part { name, readiness: self.clone() }
    }

    /// The parts that are not ready, each with its reason; empty when the program is ready.
    #[must_use]
    pub fn missing(&self) -> BTreeMap<&'static str, String> {
        self.0.lock().clone()
    }

    /// Whether nothing is missing.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl Part {
    /// This part works now.
    pub fn ready(&self) {
        self.readiness.0.lock().remove(self.name);
    }

    /// This part does not work now, for `reason`.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.readiness.0.lock().insert(self.name, reason.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_dropped_before_it_was_ready_stays_missing() {
        let readiness = Readiness::new();
        let (socket, sync) = (readiness.part("socket", "binding"), readiness.part("sync", "first"));
        socket.ready();
        drop(sync);
        assert_eq!(readiness.missing(), BTreeMap::from([("sync", "first".to_owned())]));
    }

    #[test]
    fn a_part_can_fail_after_it_was_ready() {
        let readiness = Readiness::new();
        let sync = readiness.part("sync", "first");
        sync.ready();
        assert!(readiness.is_ready());
        sync.not_ready("server unreachable");
        assert!(!readiness.is_ready());
    }
}
