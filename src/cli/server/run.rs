//! `run` of the server.

use super::settings::Settings;
use crate::{
    cli::{
        Failure,
        command::Command,
        flags::FlagSet,
        running::{open_files, until_terminated},
    },
    runtime::Clock,
    server::start::{RunningServer, Server},
    telemetry::Logging,
};
use std::io;

/// For a thousand agents with a connection each, and the store.
const FILES: u64 = 1_100;

/// Runs the server until SIGTERM.
#[derive(Debug, Default)]
pub(super) struct Run(Settings);

/// The process lacks what a server needs.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the event loop: {0}")]
struct RuntimeError(#[source] io::Error);

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
        open_files(FILES);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("server")
            .build()
            .map_err(RuntimeError)?;
        until_terminated(
            runtime,
            async |_| Server::start(loaded.config, Clock::system()).await,
            async |server: RunningServer, shutdown| {
                shutdown.requested().await;
                server.shutdown().await;
            },
        )
    }
}
