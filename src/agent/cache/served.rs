//! Up to which sequence of the own bundle every stream has acknowledged what it was sent.
//!
//! The agent tells the server this number; the server activates a new authority only once all agents
//! serve it (istio-envoy.md §15: a leaf that arrives before its authority breaks every handshake).

use crate::runtime::{Publisher, Reader};
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};

/// The lowest acknowledged sequence over all streams that serve the own bundle. Clones share it.
#[derive(Clone, Debug)]
pub struct ServedSequence(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    published: Publisher<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// The sequence of the bundle that streams are given now.
    current: u64,
    /// How many streams have last acknowledged each sequence.
    acknowledged: BTreeMap<u64, usize>,
}

/// One stream's part in it; dropping it takes the stream out.
#[derive(Debug)]
pub struct StreamAck {
    shared: Arc<Shared>,
    acknowledged: u64,
}

impl ServedSequence {
    pub(super) fn new() -> Self {
        let state = Mutex::new(State::default());
        Self(Arc::new(Shared { state, published: Publisher::new(0) }))
    }

    /// The number, as it changes.
    #[must_use]
    pub fn reader(&self) -> Reader<u64> {
        self.0.published.reader()
    }

    /// A stream that is about to be sent the bundle for the first time: nobody waits for it, since it
    /// cannot use an older one.
    #[must_use]
    pub fn stream(&self) -> StreamAck {
        let mut state = self.0.state.lock();
        let acknowledged = state.current;
        *state.acknowledged.entry(acknowledged).or_default() += 1;
        StreamAck { shared: Arc::clone(&self.0), acknowledged }
    }

    pub(super) fn set_current(&self, sequence: u64) {
        self.0.change(|state| state.current = sequence);
    }
}

impl StreamAck {
    /// The stream's client uses the bundle of this sequence.
    pub fn acknowledge(&mut self, sequence: u64) {
        if sequence <= self.acknowledged {
            return;
        }
        let before = std::mem::replace(&mut self.acknowledged, sequence);
        self.shared.change(|state| {
            state.leave(before);
            *state.acknowledged.entry(sequence).or_default() += 1;
        });
    }
}

impl Drop for StreamAck {
    fn drop(&mut self) {
        self.shared.change(|state| state.leave(self.acknowledged));
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut State)) {
        let lowest = {
            let mut state = self.state.lock();
            change(&mut state);
            let slowest = state.acknowledged.keys().next().copied();
            slowest.unwrap_or(state.current).min(state.current)
        };
        self.published.update(|published| {
            let has_changed = *published != lowest;
            *published = lowest;
            has_changed
        });
    }
}

impl State {
    fn leave(&mut self, sequence: u64) {
        if let Some(count) = self.acknowledged.get_mut(&sequence) {
            *count -= 1;
            if *count == 0 {
                self.acknowledged.remove(&sequence);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_stream_decides_until_it_acknowledges_or_leaves() {
        let served = ServedSequence::new();
        let reader = served.reader();
        served.set_current(3);
        assert_eq!(reader.current(), 3, "without streams the current bundle is served");
        let (mut quick, mut slow, gone) = (served.stream(), served.stream(), served.stream());
        served.set_current(4);
        quick.acknowledge(4);
        assert_eq!(reader.current(), 3);
        slow.acknowledge(4);
        assert_eq!(reader.current(), 3);
        drop(gone);
        assert_eq!(reader.current(), 4);
    }

    #[test]
    fn a_server_that_starts_over_lowers_the_number() {
        let served = ServedSequence::new();
        served.set_current(9);
        let _stream = served.stream();
        served.set_current(1);
        assert_eq!(served.reader().current(), 1);
    }
}
