//! The flags with which every command finds its server, and the call that uses them.

use crate::cli::{
    environment,
    flags::{Deadline, FlagSet},
    rpc::{self, Spelling, Target},
    socket::{self, SocketFlags},
};
use std::time::Duration;
use tonic::transport::Channel;

/// `-socketPath`, `-instance`, `-timeout`.
#[derive(Debug)]
pub(super) struct Connection {
    socket: SocketFlags,
    timeout: Deadline,
}

impl Default for Connection {
    fn default() -> Self {
        // SPIRE waits for ever. 30 s is longer than any call of a healthy server takes.
        let timeout = Deadline(Duration::from_secs(30));
        Self { socket: SocketFlags::new(socket::SERVER), timeout }
    }
}

impl Connection {
    /// Adds its flags.
    pub(super) fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        self.socket.flags(flags);
        flags.add("timeout", &mut self.timeout, "How long to wait for the server altogether");
    }

    /// Connects and runs `calls`.
    ///
    /// # Errors
    /// When no socket is named, there is no server or no answer in time, and what `calls` return.
    pub(in crate::cli) fn call<T, E: From<rpc::Error>>(
        &self,
        calls: impl AsyncFnOnce(Channel) -> Result<T, E>,
    ) -> Result<T, E> {
        let path = self.socket.path(environment::variable).map_err(rpc::Error::from)?;
        Target { path, spelling: Spelling::Slashes, deadline: self.timeout.0 }.call(calls)
    }
}
