//! What `finial dev` is asked to do, checked, and the defaults of what is left open.

use std::{path::PathBuf, time::Duration};

/// The command line, understood.
#[derive(Clone, Debug)]
pub struct Options {
    /// The Envoy binary to run two of; without one the agent is served for the user's own workloads.
    pub envoy: Option<PathBuf>,
    /// How long to run; for ever when it is not said.
    pub run_for: Option<Duration>,
    /// How old an SVID may grow before it is renewed.
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

/// What the process knows of itself and the user does not say.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where temporary directories go.
    pub temporary: PathBuf,
    /// The file of this program, to start it again.
    pub program: PathBuf,
}

/// Options that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Faster than certificates can be made and pushed.
    #[error("-rotate-every is {given:?}, expected at least {FASTEST:?}")]
    TooFast {
        /// What was asked for.
        given: Duration,
    },
    /// SVIDs would end before they are renewed.
    #[error(
        "-svid-ttl is {given:?}, expected at least {least:?}: whole seconds, and twice -rotate-every"
    )]
    SvidTooShort {
        /// What was asked for.
        given: Duration,
        /// What would do.
        least: Duration,
    },
    /// An authority would end before another can take over.
    #[error("-ca-ttl is {given:?}, expected at least {SHORTEST_CA:?}")]
    CaTooShort {
        /// What was asked for.
        given: Duration,
    },
}

/// A rotation costs two signatures, two pushes and their acknowledgements: some 10 ms.
const FASTEST: Duration = Duration::from_millis(100);
/// Certificates count whole seconds, and start ten seconds ago.
const SHORTEST_SVID: Duration = Duration::from_secs(2);
/// Below this the whole seconds of certificates leave no room between the phases of an authority.
const SHORTEST_CA: Duration = Duration::from_secs(12);
/// Often enough to be seen and slow enough to be read.
const SEEN: Duration = Duration::from_secs(5);

impl Options {
    /// Checks what can be known before anything is started.
    ///
    /// # Errors
    /// The first option that cannot work.
    pub fn check(&self) -> Result<(), OptionsError> {
        let rotate_every = self.rotate_every();
        if let Some(given) = rotate_every.filter(|every| *every < FASTEST) {
            return Err(OptionsError::TooFast { given });
        }
        let least = rotate_every.map_or(SHORTEST_SVID, |every| SHORTEST_SVID.max(every * 2));
        if let Some(given) = self.svid_ttl.filter(|ttl| *ttl < least) {
            return Err(OptionsError::SvidTooShort { given, least });
        }
        match self.ca_ttl.filter(|ttl| *ttl < SHORTEST_CA) {
            Some(given) => Err(OptionsError::CaTooShort { given }),
            None => Ok(()),
        }
    }

    /// How old an SVID may grow before it is renewed: the agent's own schedule unless it is said, or
    /// somebody watches.
    #[must_use]
    pub fn rotate_every(&self) -> Option<Duration> {
        self.rotate_every.or_else(|| self.envoy.as_ref().map(|_| SEEN))
    }

    /// How long SVIDs live: an hour, as in SPIRE, unless it is said.
    #[must_use]
    pub fn svid_ttl(&self) -> Duration {
        self.svid_ttl.unwrap_or(Duration::from_secs(3_600))
    }

    /// How long an authority lives. An authority signs for half of its life (it is activated a third
    /// into it and replaced at five sixths), so 24 rotations a life give one change every 12.
    #[must_use]
    pub fn ca_ttl(&self) -> Duration {
        let usual = self.rotate_every().map_or(Duration::from_secs(86_400), |every| every * 24);
        self.ca_ttl.unwrap_or_else(|| usual.max(SHORTEST_CA * 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Options = Options {
        envoy: None,
        run_for: None,
        rotate_every: None,
        svid_ttl: None,
        ca_ttl: None,
        data_dir: None,
        output: Output::Text,
    };

    #[test]
    fn an_authority_changes_within_a_minute_of_rotations_every_second() {
        let options = Options { rotate_every: Some(Duration::from_secs(1)), ..NOTHING };
        assert_eq!(options.check(), Ok(()));
        assert!(options.ca_ttl() * 5 / 6 < Duration::from_secs(60), "{:?}", options.ca_ttl());
        assert_eq!(NOTHING.rotate_every(), None, "without Envoys nobody watches");
    }

    #[test]
    fn times_that_do_not_fit_are_refused_with_what_would() {
        let refused = |options: Options| options.check().unwrap_err().to_string();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(
            refused(Options { rotate_every: ms(50), ..NOTHING }),
            "-rotate-every is 50ms, expected at least 100ms"
        );
        assert_eq!(
            refused(Options { rotate_every: ms(9_000), svid_ttl: ms(10_000), ..NOTHING }),
            "-svid-ttl is 10s, expected at least 18s: whole seconds, and twice -rotate-every"
        );
        assert_eq!(
            refused(Options { ca_ttl: ms(5_000), ..NOTHING }),
            "-ca-ttl is 5s, expected at least 12s"
        );
    }
}
