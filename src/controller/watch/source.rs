//! What a kind of object must say of itself to be followed: where it is, and what its objects become.

use crate::controller::world::{Event, Scope};
use kube::{Api, Client, Resource, runtime::watcher};
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// A kind of object, or a part of it.
pub(in crate::controller) trait Source: Send + Sync + 'static {
    /// The object as the API server sends it.
    type Object: Resource + Clone + Debug + DeserializeOwned + Send + 'static;
    /// What it becomes.
    type News: Send + 'static;

    /// What logs call it.
    fn name(&self) -> String;
    /// Where it is.
    fn api(&self, client: Client) -> Api<Self::Object>;
    /// Which of its objects.
    fn config(&self) -> watcher::Config {
        watcher::Config::default()
    }
    /// What to send on; nothing for an object that is of no use.
    fn news(&self, event: watcher::Event<Self::Object>) -> Option<Self::News>;
    /// What to do when the API server does not offer the kind, or does not allow it.
    fn when_refused(&self) -> WhenRefused<Self::News>;
}

/// What to do when a kind is refused.
pub(in crate::controller) enum WhenRefused<N> {
    /// Go on asking: without it nothing may be concluded.
    Insist,
    /// Send this on, and go on asking.
    Renounce(N),
    /// Ask for another kind in its place.
    GiveWay,
}

/// What a [`Source`] of the plan's sends on.
pub(in crate::controller) type News = Event;

/// The news of an event of which only objects say something of their own.
pub(super) fn news<K>(
    event: watcher::Event<K>,
    scope: Scope,
    applied: impl FnOnce(K) -> Option<News>,
    deleted: impl FnOnce(K) -> Option<News>,
) -> Option<News> {
    match event {
        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => applied(object),
        watcher::Event::Delete(object) => deleted(object),
        watcher::Event::Init => Some(Event::ListBegan(scope)),
        watcher::Event::InitDone => Some(Event::ListEnded(scope)),
    }
}
