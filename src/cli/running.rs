//! A program that serves until it is told to end.

use super::{Failure, chain::chain};
use crate::runtime::{Shutdown, files, shutdown::termination_signal};
use std::{error::Error, io, pin::pin, time::Duration};
use tokio::runtime::Runtime;

/// No signals: the program could not be told to end.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for SIGTERM: {0}")]
struct SignalError(#[source] io::Error);

/// What is left of the 10 s in which SIGTERM must be obeyed, for work off the event loop.
const POOL_WITHIN: Duration = Duration::from_millis(500);

/// Allows this process as many open files as it may have, and says when `wanted` are more than that.
pub(super) fn open_files(wanted: u64) {
    match files::raise_limit() {
        Ok(Some(allowed)) if allowed < wanted => tracing::warn!(
            allowed,
            wanted,
            "the hard limit on open files is low: connections beyond it will be refused; raise LimitNOFILE"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot raise the limit on open files"),
    }
}

/// Starts a program, lets it serve, and asks it to end at SIGTERM or SIGINT; a second signal does not
/// wait for the end. Why it does not start goes to the log, which is on by then.
///
/// # Errors
/// [`Failure::Told`] when it does not start or ends unasked, and when there are no signals.
pub(super) fn until_terminated<R, E: Error + 'static>(
    runtime: Runtime,
    start: impl AsyncFnOnce(Shutdown) -> Result<R, E>,
    serve: impl AsyncFnOnce(R, Shutdown),
) -> Result<(), Failure> {
    let outcome = runtime.block_on(async {
        let shutdown = Shutdown::new();
        let mut asked = pin!(termination_signal());
        let started = tokio::select! {
            biased;
            signal = &mut asked => {
                let signal = signal.map_err(SignalError)?;
                tracing::info!(signal, "ended before it had started");
                return Ok(());
            }
            started = start(shutdown.clone()) => started,
        };
        let running = started.map_err(|error| {
            tracing::error!(error = chain(&error), "cannot start");
            Failure::Told
        })?;
        let mut serving = pin!(serve(running, shutdown.clone()));
        let signal = tokio::select! {
            biased;
            signal = &mut asked => signal.map_err(SignalError)?,
            () = &mut serving => {
                tracing::error!("ended unasked");
                return Err(Failure::Told);
            }
        };
        tracing::info!(signal, "ending");
        shutdown.request();
        tokio::select! {
            biased;
            () = &mut serving => {}
            _ = termination_signal() => tracing::warn!("asked twice to end: not waiting for the rest"),
        }
        Ok(())
    });
    runtime.shutdown_timeout(POOL_WITHIN);
    outcome
}
