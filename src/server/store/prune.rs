//! Removes what has ended: entries past their expiry and join tokens that nobody used. One task runs it.

use super::{entries, error::StoreError, open::Store};
use crate::runtime::Shutdown;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// 5 min, as SPIRE. An ended entry gives no identity from the second of its expiry on.
const INTERVAL: Duration = Duration::from_secs(300);

/// What one round removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Registration entries.
    pub entries: usize,
    /// Join tokens.
    pub tokens: usize,
}

impl Store {
    /// Removes what has ended, every five minutes until the shutdown. Dropping it is safe.
    pub async fn run(&self, shutdown: Shutdown) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                _ = ticks.tick() => self.prune_and_log().await,
            }
        }
    }

    /// Removes the entries and join tokens that ended before now.
    ///
    /// # Errors
    /// When nothing was removed.
    pub async fn prune(&self) -> Result<Pruned, StoreError> {
        self.write(|transaction| {
            let expired = transaction.ended_entries();
            for id in &expired {
                entries::delete(transaction, id)?;
            }
            let tokens = transaction
                .execute("DELETE FROM join_tokens WHERE expires_at < ?", [transaction.now()])?;
            Ok(Pruned { entries: expired.len(), tokens })
        })
        .await
    }

    async fn prune_and_log(&self) {
        match self.prune().await {
            Ok(Pruned { entries: 0, tokens: 0 }) => {}
            Ok(Pruned { entries, tokens }) => {
                tracing::info!(entries, tokens, "expired entries and join tokens removed");
            }
            Err(error) => tracing::warn!(%error, "expired entries could not be removed"),
        }
    }
}
