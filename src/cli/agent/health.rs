//! `healthcheck` of the agent.

use super::connection::{PublicSocket, TIMEOUT};
use crate::cli::{
    Failure,
    command::Command,
    flags::FlagSet,
    health::{self, HealthFlags},
};

/// Asks the agent whether it is healthy.
#[derive(Debug, Default)]
pub(super) struct HealthCheck {
    health: HealthFlags,
    socket: PublicSocket,
}

impl Command for HealthCheck {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        self.health.flags(flags);
        self.socket.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let target = self.socket.target(TIMEOUT.0);
        self.health.check("agent", || target?.call(health::ask))
    }
}
