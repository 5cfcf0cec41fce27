//! The custom resources. They are watched untyped and read one by one: one that cannot be read is there all
//! the same, and must not look deleted.

use super::source::{News, Source, WhenRefused, news};
use crate::controller::{
    crd::{self, ClusterFederatedTrustDomain, ClusterSpiffeId, ClusterStaticEntry, CrdError},
    world::{Event, Kind, Owner, Scope},
};
use kube::{
    Api, Client, Resource as _,
    api::{ApiResource, DynamicObject},
    runtime::watcher,
};
use std::sync::Arc;

/// `ClusterSPIFFEID`s, with a label selector that may be empty.
pub(in crate::controller) struct SpiffeIds(pub(in crate::controller) String);
/// `ClusterStaticEntry`s, with a label selector that may be empty.
pub(in crate::controller) struct StaticEntries(pub(in crate::controller) String);
/// `ClusterFederatedTrustDomain`s, with a label selector that may be empty.
pub(in crate::controller) struct Federations(pub(in crate::controller) String);

impl Source for SpiffeIds {
    type Object = DynamicObject;
    type News = News;

    fn name(&self) -> String {
        "clusterspiffeids".to_owned()
    }

    fn api(&self, client: Client) -> Api<DynamicObject> {
        Api::all_with(client, &ApiResource::erase::<ClusterSpiffeId>(&()))
    }

    fn config(&self) -> watcher::Config {
        labelled(&self.0)
    }

    fn news(&self, event: watcher::Event<DynamicObject>) -> Option<News> {
        declared(event, Kind::SpiffeIds, Owner::SpiffeId, |object| {
            crd::read(object).map(Box::new).map(Event::SpiffeIdApplied)
        })
    }

    /// Without it there is nothing to do, and much that could be lost.
    fn when_refused(&self) -> WhenRefused<News> {
        WhenRefused::Insist
    }
}

impl Source for StaticEntries {
    type Object = DynamicObject;
    type News = News;

    fn name(&self) -> String {
        "clusterstaticentries".to_owned()
    }

    fn api(&self, client: Client) -> Api<DynamicObject> {
        Api::all_with(client, &ApiResource::erase::<ClusterStaticEntry>(&()))
    }

    fn config(&self) -> watcher::Config {
        labelled(&self.0)
    }

    fn news(&self, event: watcher::Event<DynamicObject>) -> Option<News> {
        declared(event, Kind::StaticEntries, Owner::StaticEntry, |object| {
            crd::read(object).map(Box::new).map(Event::StaticEntryApplied)
        })
    }

    fn when_refused(&self) -> WhenRefused<News> {
        WhenRefused::Renounce(Event::Renounced(Kind::StaticEntries))
    }
}

impl Source for Federations {
    type Object = DynamicObject;
    type News = Result<Box<ClusterFederatedTrustDomain>, (String, CrdError)>;

    fn name(&self) -> String {
        "clusterfederatedtrustdomains".to_owned()
    }

    fn api(&self, client: Client) -> Api<DynamicObject> {
        Api::all_with(client, &ApiResource::erase::<ClusterFederatedTrustDomain>(&()))
    }

    fn config(&self) -> watcher::Config {
        labelled(&self.0)
    }

    fn news(&self, event: watcher::Event<DynamicObject>) -> Option<Self::News> {
        match event {
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
                let name = object.metadata.name.clone().unwrap_or_default();
                Some(crd::read(object).map(Box::new).map_err(|error| (name, error)))
            }
            watcher::Event::Delete(_) | watcher::Event::Init | watcher::Event::InitDone => None,
        }
    }

    fn when_refused(&self) -> WhenRefused<Self::News> {
        WhenRefused::Insist
    }
}

fn labelled(selector: &str) -> watcher::Config {
    let config = watcher::Config::default();
    if selector.is_empty() { config } else { config.labels(selector) }
}

/// A custom resource that cannot be read is there all the same.
fn declared(
    event: watcher::Event<DynamicObject>,
    kind: Kind,
    owner: fn(Arc<str>) -> Owner,
    read: impl FnOnce(DynamicObject) -> Result<News, CrdError>,
) -> Option<News> {
    let named =
        |object: &DynamicObject| object.meta().name.as_deref().map(|name| owner(name.into()));
    news(
        event,
        Scope::all(kind),
        |object| {
            let owner = named(&object)?;
            Some(read(object).unwrap_or_else(|error| Event::Unreadable(owner, error)))
        },
        |object| named(&object).map(Event::OwnerDeleted),
    )
}
