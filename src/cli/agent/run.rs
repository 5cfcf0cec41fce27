//! `run` of the agent.

use super::settings::Settings;
use crate::{
    agent::start::{Agent, RunningAgent},
    cli::{Failure, command::Command, flags::FlagSet, rpc, running::until_terminated},
    runtime::Clock,
    telemetry::Logging,
};

/// Runs the agent until SIGTERM.
#[derive(Debug, Default)]
pub(super) struct Run(Settings);

impl Command for Run {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        self.0.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let loaded = self.0.load()?;
        // Lives until the end: dropped, it writes the last lines.
        let _logging = Logging::start(&loaded.config.log, Clock::system())?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        until_terminated(
            // The agent has a thread and an event loop of its own: this one waits for signals.
            rpc::runtime()?,
            async |shutdown| Agent::start(loaded.config, Clock::system(), shutdown).await,
            async |agent: RunningAgent, _| agent.ended().await,
        )
    }
}
