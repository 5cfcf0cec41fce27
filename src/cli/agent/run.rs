//! `run` of the agent.

use super::settings::Settings;
use crate::{
    agent::start::{Agent, RunningAgent},
    cli::{
        Failure,
        command::Command,
        environment,
        flags::FlagSet,
        rpc,
        running::{open_files, until_terminated},
    },
    runtime::Clock,
    telemetry::Logging,
    transport::Takeover,
};

/// The socket and the process at its other end.
const FILES_PER_CONNECTION: u64 = 2;
/// Logs, timers, the server, and the files that attestation reads.
const OTHER_FILES: u64 = 100;

/// Runs the agent until SIGTERM.
#[derive(Debug, Default)]
pub(super) struct Run {
    settings: Settings,
    replace: bool,
}

impl Command for Run {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        self.settings.flags(flags);
        flags.add(
            "replace",
            &mut self.replace,
            "Take the sockets over from an agent that still serves them, as an upgrade does",
        );
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let mut loaded = self.settings.load()?;
        if self.replace {
            loaded.config.takeover = Takeover::Replace;
        }
        let config = loaded.config.knowing_its_node(environment::variable);
        // Lives until the end: dropped, it writes the last lines.
        let logging = Logging::start(&config.log, Clock::system())?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let sidecars = u64::try_from(config.limits.connections).unwrap_or(u64::MAX);
        open_files(sidecars.saturating_mul(FILES_PER_CONNECTION).saturating_add(OTHER_FILES));
        until_terminated(
            // The agent has a thread and an event loop of its own: this one waits for signals.
            rpc::runtime()?,
            &logging,
            async |shutdown| Agent::start(config, Clock::system(), shutdown).await,
            async |agent: RunningAgent, _| agent.ended().await,
        )
    }
}
