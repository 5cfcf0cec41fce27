//! The flags with which commands find their agent.

use crate::cli::{
    environment,
    flags::{Deadline, FlagSet},
    rpc::{self, Spelling, Target},
    socket::{self, SocketFlags},
};
use std::time::Duration;

/// `-socketPath` and `-instance`.
#[derive(Debug)]
pub(super) struct PublicSocket(SocketFlags);

impl Default for PublicSocket {
    fn default() -> Self {
        Self(SocketFlags::new(socket::AGENT))
    }
}

impl PublicSocket {
    /// Adds both.
    pub(super) fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        self.0.flags(flags);
    }

    /// Whom to call.
    ///
    /// # Errors
    /// When the flags name no socket.
    pub(super) fn target(&self, deadline: Duration) -> Result<Target, rpc::Error> {
        let path = self.0.path(environment::variable)?;
        let path = crate::config::value::absolute(&path);
        Ok(Target { path, spelling: Spelling::Plain, deadline })
    }
}

/// `-timeout` of calls that wait for attestation.
pub(super) const WORKLOAD_TIMEOUT: Deadline = Deadline(Duration::from_secs(5));

/// `-timeout` of other calls: long for a healthy agent.
pub(super) const TIMEOUT: Deadline = Deadline(Duration::from_secs(30));
