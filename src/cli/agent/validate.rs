//! `validate` of the agent.

use super::settings::Settings;
use crate::cli::{Failure, command::Command, console, flags::FlagSet};

/// Reads the configuration and says what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Validate(Settings);

impl Command for Validate {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        self.0.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        for warning in self.0.load()?.warnings {
            console::tell(&format!("warning: {warning}\n"));
        }
        console::print("SPIRE agent configuration file is valid.\n")
    }
}
