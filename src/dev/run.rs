//! Runs it all: server, agent, and two Envoys under load when there is an Envoy.
//!
//! Whatever ends it, everything that was started is ended in order: load, Envoys, agent, server, and
//! the temporary directory last.

use super::{
    directory::Directory,
    envoy::binary::Binary,
    error::DevError,
    options::{Options, Surroundings},
    programs::Programs,
    screen::Screen,
    stage::Stage,
    summary::Summary,
};
use crate::{
    config::log::Log,
    runtime::{Clock, Shutdown},
    telemetry::Logging,
};

/// Runs until the time is over or `shutdown` is requested, and ends everything that it started. With
/// Envoys it gives a summary. To be called on the main thread, whose end ends the Envoys.
///
/// # Errors
/// When something does not start, or an Envoy ends by itself.
pub async fn run(
    options: &Options,
    surroundings: &Surroundings,
    screen: &mut Screen,
    shutdown: &Shutdown,
) -> Result<Option<Summary>, DevError> {
    options.check()?;
    let binary = match &options.envoy {
        Some(path) => Some(Binary::check(path).await?),
        None => None,
    };
    let directory = Directory::open(options.data_dir.as_deref(), &surroundings.temporary)?;
    let clock = Clock::system();
    // The screen is for what happens; what the programs say of it goes beside their state.
    let file = Some(directory.log());
    let log = Log { file, ..Log::default() };
    let _logging = Logging::start(&log, clock.clone())?;
    let programs = Programs::start(&directory, options, &clock).await?;
    let play = Play { directory: &directory, programs: &programs, options, surroundings, clock };
    let result = match binary {
        Some(binary) => play.mesh(binary, screen, shutdown).await,
        None => play.alone(screen, shutdown).await.map(|()| None),
    };
    programs.stop().await;
    result
}

/// What is running, and how it is to run.
struct Play<'a> {
    directory: &'a Directory,
    programs: &'a Programs,
    options: &'a Options,
    surroundings: &'a Surroundings,
    clock: Clock,
}

impl Play<'_> {
    /// Without Envoys: the user's own processes get an identity.
    async fn alone(&self, screen: &mut Screen, shutdown: &Shutdown) -> Result<(), DevError> {
        let uid = rustix::process::geteuid().as_raw();
        let id = self.programs.register("/dev/user", &format!("unix:uid:{uid}")).await?;
        tokio::select! {
            biased;
            () = shutdown.requested() => return Ok(()),
            // The command that is shown works from the first moment on.
            served = self.programs.served(&id) => served?,
        }
        let finial = self.surroundings.program.display();
        let (agent, server) = (self.directory.agent_socket(), self.directory.server_socket());
        let text = format!(
            "socket:  {agent}\nserver:  {server}\nentry:   {id} for unix:uid:{uid}\n\n\
             fetch its SVID:\n  {finial} agent api fetch x509 -socketPath {agent}\n\
             give a name to another workload:\n  {finial} server entry create -socketPath {server} \
             -parentID {node} -spiffeID spiffe://example.org/my-service -selector unix:path:/usr/bin/my-service\n\n\
             Ctrl-C ends it.\n",
            agent = agent.display(),
            server = server.display(),
            node = self.programs.node,
        );
        screen.say(&text).map_err(DevError::Screen)?;
        self.over(shutdown).await;
        Ok(())
    }

    /// With Envoys: requests from one to the other, shown until the end.
    async fn mesh(
        &self,
        binary: Binary,
        screen: &mut Screen,
        shutdown: &Shutdown,
    ) -> Result<Option<Summary>, DevError> {
        let leash = self.surroundings.program.clone();
        let mut stage = Stage::set(self.programs, self.directory, binary, leash).await?;
        let result = self.perform(&mut stage, screen, shutdown).await;
        stage.clear().await;
        result
    }

    async fn perform(
        &self,
        stage: &mut Stage,
        screen: &mut Screen,
        shutdown: &Shutdown,
    ) -> Result<Option<Summary>, DevError> {
        tokio::select! {
            biased;
            // Nothing was sent, so there is nothing to account for.
            () = shutdown.requested() => return Ok(None),
            ready = stage.ready() => ready?,
        }
        let act = stage.begin(self.programs);
        let mut ticks = tokio::time::interval(screen.pace());
        let mut over = std::pin::pin!(self.over(shutdown));
        loop {
            tokio::select! {
                biased;
                () = &mut over => break,
                _ = ticks.tick() => {}
            }
            stage.alive()?;
            let progress = act.progress(self.programs, stage.identities(), self.clock.now());
            screen.show(&progress).map_err(DevError::Screen)?;
        }
        let summary = act.end(self.programs, stage, self.clock.now()).await;
        summary.map(Some).map_err(DevError::Handshakes)
    }

    /// Completes when the time is over, or the end is asked for.
    async fn over(&self, shutdown: &Shutdown) {
        let Some(time) = self.options.run_for else { return shutdown.requested().await };
        tokio::select! {
            biased;
            () = shutdown.requested() => {}
            () = tokio::time::sleep(time) => {}
        }
    }
}
