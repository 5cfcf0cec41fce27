//! How long the agent waits before it turns to its server again.
//!
//! A server that has answered, or has begun to, may be overloaded: it is asked ever less often. One that is
//! not there has no work with those who knock: they go on knocking, and an agent is back as soon as its
//! server is, after an outage of any length.

use crate::{runtime::Backoff, transport::channel::ConnectError};
use std::time::Duration;

/// How far an attempt came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The server knows nothing of it.
    Nobody,
    /// The server, or something before it that has accepted the connection, or a name server.
    Somebody,
}

/// The waits of one loop that asks the server.
#[derive(Debug)]
pub struct Patience(Backoff);

/// The longest wait for a server that is not there. It leaves three quarters of the second in which workloads
/// are to have their identity after its return.
const KNOCK_EVERY: Duration = Duration::from_millis(250);
const ANSWERED_BASE: Duration = Duration::from_millis(500);
const ANSWERED_CAP: Duration = Duration::from_secs(30);

impl Patience {
    /// Nothing has failed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Backoff::new(ANSWERED_BASE, ANSWERED_CAP))
    }

    /// The wait after an attempt that failed and came that far.
    pub fn after(&mut self, reach: Reach) -> Duration {
        match reach {
            Reach::Nobody => Backoff::new(KNOCK_EVERY, KNOCK_EVERY).next_delay(),
            Reach::Somebody => self.0.next_delay(),
        }
    }

    /// The server has done what it was asked.
    pub const fn reset(&mut self) {
        self.0.reset();
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::new()
    }
}

impl From<&ConnectError> for Reach {
    /// A connection that took too long, or ended in its handshake, may have met a server with too much to do.
    /// A name that does not resolve has cost the name server something.
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::Tcp(..) | ConnectError::Unix(..) => Self::Nobody,
            _ => Self::Somebody,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::channel::Address;
    use std::io;

    fn refused() -> ConnectError {
        let address = Address { host: "server".to_owned(), port: 8081 };
        ConnectError::Tcp(address, io::ErrorKind::ConnectionRefused.into())
    }

    #[test]
    fn a_server_that_is_not_there_is_looked_for_four_times_a_second_for_ever() {
        let mut patience = Patience::new();
        let reach = Reach::from(&refused());
        assert!((0..100).all(|_| patience.after(reach) <= Duration::from_millis(250)));
    }

    #[test]
    fn one_that_answers_is_asked_less_and_less_until_it_does_what_it_is_asked() {
        let mut patience = Patience::new();
        let longest = (0..100).map(|_| patience.after(Reach::Somebody)).max().unwrap();
        assert!(longest > Duration::from_secs(15) && longest <= Duration::from_secs(30));
        patience.reset();
        assert!(patience.after(Reach::Somebody) <= Duration::from_millis(500));
    }

    #[test]
    fn a_name_that_does_not_resolve_is_not_looked_up_in_a_tight_loop() {
        let address = Address { host: "server".to_owned(), port: 8081 };
        let unknown = ConnectError::Resolve(address, io::ErrorKind::NotFound.into());
        assert_eq!(Reach::from(&unknown), Reach::Somebody);
    }
}
