//! What `finial dev` is asked to do.

use std::{path::PathBuf, time::Duration};

/// The command line, understood.
#[derive(Clone, Debug)]
pub struct Options {
    /// The Envoy binary to run two of; without one the agent is served for the user's own workloads.
    pub envoy: Option<PathBuf>,
    /// How long to run; for ever when it is not said.
    pub run_for: Option<Duration>,
    /// How old an SVID may grow before it is renewed; its own schedule when it is not said.
    pub rotate_every: Option<Duration>,
    /// How long SVIDs live.
    pub svid_ttl: Option<Duration>,
    /// How long an authority lives.
    pub ca_ttl: Option<Duration>,
    /// Where the state is kept; a temporary directory when it is not said.
    pub data_dir: Option<PathBuf>,
    /// What is printed.
    pub output: Output,
}

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Lines for people; redrawn in place on a terminal.
    #[default]
    Text,
    /// The same lines on standard error, and one JSON object as the last line of standard output.
    Json,
}

impl Options {
    /// How long SVIDs live: an hour, as in SPIRE, unless it is said.
    #[must_use]
    pub fn svid_ttl(&self) -> Duration {
        self.svid_ttl.unwrap_or(Duration::from_secs(3_600))
    }

    /// How long an authority lives. An authority signs for half of its life (it is activated a third
    /// into it and replaced at five sixths), so 24 rotations a life give one change every 12.
    #[must_use]
    pub fn ca_ttl(&self) -> Duration {
        let usual = self.rotate_every.map_or(Duration::from_secs(86_400), |every| every * 24);
        // Below 24 s the whole seconds of certificates leave no room between the phases.
        self.ca_ttl.unwrap_or_else(|| usual.max(Duration::from_secs(24)))
    }
}
