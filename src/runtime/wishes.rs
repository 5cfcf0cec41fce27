//! What an operator asks of a running program by a signal, other than to end.
//!
//! Left alone, each of these signals would end the process, as a terminal that is closed or the log
//! rotation of a SPIRE installation would do to every workload's identity.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// SIGHUP, and SIGUSR1 as SPIRE has it for plugins: to read the configuration anew.
    Reload,
    /// SIGUSR2: to open the log file anew, for its name is another file's by now.
    ReopenLog,
}

/// The signals, caught from now on.
#[derive(Debug)]
pub struct Wishes {
    hangup: Signal,
    first: Signal,
    second: Signal,
}

impl Wishes {
    /// Catches the signals. What comes before [`Wishes::next`] is called is not lost.
    ///
    /// # Errors
    /// When the process may not install a signal handler.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            first: signal(SignalKind::user_defined1())?,
            second: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next wish. Dropping it is safe.
    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.hangup.recv() => Wish::Reload,
            _ = self.first.recv() => Wish::Reload,
            _ = self.second.recv() => Wish::ReopenLog,
        }
    }
}
