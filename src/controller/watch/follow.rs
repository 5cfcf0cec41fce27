//! Keeps a watch of one kind going: lists, watches, lists again when the API server has forgotten where
//! the watch stood, waits when it fails, and takes a new client when the old one is of no use.
//!
//! Sends on every event in order and drops none: while the receiver is busy, the watch waits. Errors are
//! no events: whoever receives keeps what it has. One task a kind.

use super::{
    refusal::Refusals,
    source::{Source, WhenRefused},
};
use crate::{
    k8s::KubeClient,
    runtime::{Backoff, Shutdown},
};
use futures_util::StreamExt as _;
use kube::runtime::watcher::{self, watcher};
use std::{pin::pin, time::Duration};
use tokio::{
    sync::mpsc::Sender,
    time::{Instant, sleep, timeout},
};

/// Follows kinds for one receiver.
pub(in crate::controller) struct Follower<N> {
    pub(in crate::controller) kube: KubeClient,
    pub(in crate::controller) news: Sender<N>,
    pub(in crate::controller) shutdown: Shutdown,
}

/// A connection that was dropped without a word is noticed in this time, and the API server is asked for
/// a new watch as often: once a minute and kind.
const WATCH_SECS: u32 = 60;
/// A page of 500 pods takes a busy API server a second.
const PAGE_WITHIN: Duration = Duration::from_secs(30);
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LAST: Duration = Duration::from_secs(15);
/// So many failures in a row may be the client's: its files may have changed.
const CLIENT_FAILURES: u32 = 3;

/// Why a watch is made anew.
enum Ended {
    /// The program ends, nobody receives, or the source gives way.
    Done,
    /// The client is of no use, or hangs.
    Client,
    /// The API server does not know any more where the watch stood.
    Forgotten,
}

/// What a source has been through.
struct Standing {
    name: String,
    backoff: Backoff,
    failures: u32,
    refusals: Refusals,
    told: Option<String>,
}

/// Follows `source` until the end of the program, or until it gives way.
pub(in crate::controller) async fn follow<S: Source>(source: S, follower: &Follower<S::News>) {
    let mut standing = Standing {
        name: source.name(),
        backoff: Backoff::new(RETRY_FIRST, RETRY_LAST),
        failures: 0,
        refusals: Refusals::default(),
        told: None,
    };
    loop {
        let client = tokio::select! {
            biased;
            () = follower.shutdown.requested() => return,
            client = follower.kube.client() => client,
        };
        match client {
            Ok(client) => match watch(&source, follower, client, &mut standing).await {
                Ended::Done => return,
                Ended::Client => follower.kube.forget(),
                // With a pause: whoever forgets at once would be asked for everything without end.
                Ended::Forgotten => {}
            },
            Err(error) => standing.tell(&error.to_string()),
        }
        if !standing.wait(&follower.shutdown).await {
            return;
        }
    }
}

async fn watch<S: Source>(
    source: &S,
    follower: &Follower<S::News>,
    client: kube::Client,
    standing: &mut Standing,
) -> Ended {
    let config = source.config().timeout(WATCH_SECS);
    let mut events = pin!(watcher(source.api(client), config));
    let mut is_listing = true;
    standing.failures = 0;
    loop {
        // A watch ends by itself in time, a list does not.
        let patience = if is_listing {
            PAGE_WITHIN
        } else {
            PAGE_WITHIN + Duration::from_secs(WATCH_SECS.into())
        };
        let next = tokio::select! {
            biased;
            () = follower.shutdown.requested() => return Ended::Done,
            next = timeout(patience, events.next()) => next,
        };
        let event = match next {
            Ok(Some(Ok(event))) => event,
            Ok(Some(Err(error))) => {
                // Told at the start of a watch, kube-runtime would ask for the same for ever.
                if status(&error) == Some(410) {
                    tracing::debug!(kind = standing.name, "the watch was too old, listing anew");
                    return Ended::Forgotten;
                }
                if !standing.failed(source, follower, &error).await {
                    return Ended::Done;
                }
                if standing.failures >= CLIENT_FAILURES || status(&error) == Some(401) {
                    return Ended::Client;
                }
                continue;
            }
            Ok(None) => return Ended::Client,
            Err(_) if is_listing => {
                standing.tell("no answer within 30 s");
                return Ended::Client;
            }
            // Nothing happens: watches come and go below without a word.
            Err(_) => continue,
        };
        match event {
            watcher::Event::Init => is_listing = true,
            watcher::Event::InitDone => {
                is_listing = false;
                standing.works();
            }
            watcher::Event::Apply(_) | watcher::Event::Delete(_) => standing.works(),
            watcher::Event::InitApply(_) => {}
        }
        if let Some(news) = source.news(event)
            && !send(follower, news).await
        {
            return Ended::Done;
        }
    }
}

impl Standing {
    fn works(&mut self) {
        self.backoff.reset();
        self.failures = 0;
        self.refusals.given();
        if self.told.take().is_some() {
            tracing::info!(kind = self.name, "followed again");
        }
    }

    /// Once for each cause: an outage is one fact, not a line a second.
    fn tell(&mut self, error: &str) {
        if self.told.as_deref() != Some(error) {
            tracing::warn!(
                kind = self.name,
                error,
                "not followed: what depends on it stays as it is until it is"
            );
            self.told = Some(error.to_owned());
        }
    }

    /// Waits after an error; `false` when there is nothing to wait for.
    async fn failed<S: Source>(
        &mut self,
        source: &S,
        follower: &Follower<S::News>,
        error: &watcher::Error,
    ) -> bool {
        self.failures += 1;
        let cause = error.to_string();
        if !self.refusals.failed(status(error), Instant::now()) {
            self.tell(&cause);
            return self.wait(&follower.shutdown).await;
        }
        match source.when_refused() {
            WhenRefused::Insist => self.tell(&cause),
            WhenRefused::GiveWay => {
                tracing::warn!(
                    kind = self.name,
                    error = cause,
                    "another kind is asked for instead"
                );
                return false;
            }
            WhenRefused::Renounce(news) => {
                tracing::warn!(kind = self.name, error = cause, "done without until it is offered");
                self.told = Some(cause);
                if !send(follower, news).await {
                    return false;
                }
            }
        }
        self.wait(&follower.shutdown).await
    }

    async fn wait(&mut self, shutdown: &Shutdown) -> bool {
        tokio::select! {
            biased;
            () = shutdown.requested() => false,
            () = sleep(self.backoff.next_delay()) => true,
        }
    }
}

/// `false` when nobody receives any more.
async fn send<N>(follower: &Follower<N>, news: N) -> bool {
    tokio::select! {
        biased;
        () = follower.shutdown.requested() => false,
        sent = follower.news.send(news) => sent.is_ok(),
    }
}

/// The HTTP status that the API server answered with.
fn status(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}
