//! How the agent stands with the server's word: what operators and probes ask.

use std::time::SystemTime;

/// The state of synchronisation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncStatus {
    /// The way in which news arrives.
    pub link: Link,
    /// When the server's word was last complete.
    pub last_heard: Option<SystemTime>,
}

/// The way in which news arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// Not at all.
    #[default]
    Down,
    /// The server pushes it.
    Watching,
    /// The agent asks for it.
    Polling,
}

impl SyncStatus {
    /// When the agent last knew everything that the server knows: now, while the server pushes.
    #[must_use]
    pub const fn last_success(&self, now: SystemTime) -> Option<SystemTime> {
        match (self.link, self.last_heard) {
            (Link::Watching, Some(_)) => Some(now),
            (_, last_heard) => last_heard,
        }
    }
}
