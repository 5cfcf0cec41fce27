//! One signal that tells every task of a program to end, and the operating system's wish for it.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A clonable wish to end. Once requested it stays requested.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Nobody has asked yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks every holder to end. Safe to call often.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Completes when the end is asked for, at once if it was already. Dropping it is safe.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// A part's own signal: it is requested with this one, or alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }
}

/// Completes with the signal's name at the first SIGTERM or SIGINT. Dropping it is safe.
///
/// # Errors
/// When the process may not install a signal handler.
pub async fn termination_signal() -> std::io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
