//! `healthcheck` of the server.

use super::connection::Connection;
use crate::cli::{
    Failure,
    command::Command,
    flags::FlagSet,
    health::{self, HealthFlags},
};

/// Asks the server whether it is healthy.
#[derive(Debug, Default)]
pub(super) struct HealthCheck {
    health: HealthFlags,
    connection: Connection,
}

impl Command for HealthCheck {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        self.health.flags(flags);
        self.connection.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        self.health.check("server", || self.connection.call(health::ask))
    }
}
