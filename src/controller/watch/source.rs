//! The kinds that the controller follows: where they are, and what their objects become.

use crate::controller::{
    config::model::NamespaceScope,
    crd::{self, ClusterFederatedTrustDomain, ClusterSpiffeId, ClusterStaticEntry, CrdError},
    world::{Event, Kind, Owner, Scope, Trimmer},
};
use k8s_openapi::api::{core::v1 as core, discovery::v1::EndpointSlice};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject},
    core::NamespaceResourceScope,
    runtime::watcher,
};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use std::{fmt::Debug, sync::Arc};

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

/// Makes small values of large objects; one for all sources, so that they share what recurs.
pub(in crate::controller) type Trim = Arc<Mutex<Trimmer>>;

/// Pods, everywhere or of one namespace.
pub(in crate::controller) struct Pods {
    pub(in crate::controller) trim: Trim,
    pub(in crate::controller) only: Option<NamespaceScope>,
}

/// Namespaces.
pub(in crate::controller) struct Namespaces(pub(in crate::controller) Trim);
/// Nodes.
pub(in crate::controller) struct Nodes(pub(in crate::controller) Trim);
/// The pods behind services, everywhere or of one namespace.
pub(in crate::controller) struct EndpointSlices {
    pub(in crate::controller) trim: Trim,
    pub(in crate::controller) namespace: Option<String>,
}

/// The same, where slices are not to be had.
pub(in crate::controller) struct Endpoints {
    pub(in crate::controller) trim: Trim,
    pub(in crate::controller) namespace: Option<String>,
}

/// `ClusterSPIFFEID`s, with a label selector that may be empty.
pub(in crate::controller) struct SpiffeIds(pub(in crate::controller) String);
/// `ClusterStaticEntry`s, with a label selector that may be empty.
pub(in crate::controller) struct StaticEntries(pub(in crate::controller) String);
/// `ClusterFederatedTrustDomain`s, with a label selector that may be empty.
pub(in crate::controller) struct Federations(pub(in crate::controller) String);

impl Source for Pods {
    type Object = core::Pod;
    type News = News;

    fn name(&self) -> String {
        match &self.only {
            Some(only) => format!("pods of namespace {}", only.name),
            None => "pods".to_owned(),
        }
    }

    fn api(&self, client: Client) -> Api<core::Pod> {
        of(client, self.only.as_ref().map(|only| only.name.as_str()))
    }

    fn config(&self) -> watcher::Config {
        let Some(only) = &self.only else { return watcher::Config::default() };
        let mut config = watcher::Config::default();
        if !only.label_selector.is_empty() {
            config = config.labels(&only.label_selector);
        }
        if !only.field_selector.is_empty() {
            config = config.fields(&only.field_selector);
        }
        config
    }

    fn news(&self, event: watcher::Event<core::Pod>) -> Option<News> {
        let namespace = self.only.as_ref().map(|only| only.name.as_str().into());
        trimmed(
            event,
            Scope { kind: Kind::Pods, namespace },
            |pod| told(self.trim.lock().pod(pod)).map(Arc::new).map(Event::PodApplied),
            |pod| pod.metadata.uid.map(|uid| Event::PodDeleted(uid.into())),
        )
    }

    fn when_refused(&self) -> WhenRefused<News> {
        WhenRefused::Insist
    }
}

impl Source for Namespaces {
    type Object = core::Namespace;
    type News = News;

    fn name(&self) -> String {
        "namespaces".to_owned()
    }

    fn api(&self, client: Client) -> Api<core::Namespace> {
        Api::all(client)
    }

    fn news(&self, event: watcher::Event<core::Namespace>) -> Option<News> {
        trimmed(
            event,
            Scope::all(Kind::Namespaces),
            |namespace| told(self.0.lock().namespace(namespace)).map(Event::NamespaceApplied),
            |namespace| namespace.metadata.name.map(|name| Event::NamespaceDeleted(name.into())),
        )
    }

    fn when_refused(&self) -> WhenRefused<News> {
        WhenRefused::Insist
    }
}

impl Source for Nodes {
    type Object = core::Node;
    type News = News;

    fn name(&self) -> String {
        "nodes".to_owned()
    }

    fn api(&self, client: Client) -> Api<core::Node> {
        Api::all(client)
    }

    fn news(&self, event: watcher::Event<core::Node>) -> Option<News> {
        trimmed(
            event,
            Scope::all(Kind::Nodes),
            |node| told(self.0.lock().node(node)).map(Arc::new).map(Event::NodeApplied),
            |node| node.metadata.name.map(|name| Event::NodeDeleted(name.into())),
        )
    }

    fn when_refused(&self) -> WhenRefused<News> {
        WhenRefused::Insist
    }
}

impl Source for EndpointSlices {
    type Object = EndpointSlice;
    type News = News;

    fn name(&self) -> String {
        "endpointslices".to_owned()
    }

    fn api(&self, client: Client) -> Api<EndpointSlice> {
        of(client, self.namespace.as_deref())
    }

    fn news(&self, event: watcher::Event<EndpointSlice>) -> Option<News> {
        let apply = |slice| told(self.trim.lock().endpoint_slice(slice)).flatten();
        trimmed(
            event,
            endpoints_scope(self.namespace.as_ref()),
            |slice| apply(slice).map(Event::EndpointsApplied),
            |slice| endpoints_deleted(slice.metadata.namespace, slice.metadata.name),
        )
    }

    fn when_refused(&self) -> WhenRefused<News> {
        WhenRefused::GiveWay
    }
}

impl Source for Endpoints {
    type Object = core::Endpoints;
    type News = News;

    fn name(&self) -> String {
        "endpoints".to_owned()
    }

    fn api(&self, client: Client) -> Api<core::Endpoints> {
        of(client, self.namespace.as_deref())
    }

    fn news(&self, event: watcher::Event<core::Endpoints>) -> Option<News> {
        trimmed(
            event,
            endpoints_scope(self.namespace.as_ref()),
            |endpoints| {
                told(self.trim.lock().legacy_endpoints(endpoints)).map(Event::EndpointsApplied)
            },
            |endpoints| endpoints_deleted(endpoints.metadata.namespace, endpoints.metadata.name),
        )
    }

    fn when_refused(&self) -> WhenRefused<News> {
        WhenRefused::Renounce(Event::Renounced(Kind::Endpoints))
    }
}

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

fn of<K>(client: Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}

fn endpoints_scope(namespace: Option<&String>) -> Scope {
    Scope { kind: Kind::Endpoints, namespace: namespace.map(|name| name.as_str().into()) }
}

fn labelled(selector: &str) -> watcher::Config {
    let config = watcher::Config::default();
    if selector.is_empty() { config } else { config.labels(selector) }
}

fn trimmed<K>(
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

/// A custom resource that cannot be read is there all the same.
fn declared(
    event: watcher::Event<DynamicObject>,
    kind: Kind,
    owner: fn(Arc<str>) -> Owner,
    read: impl FnOnce(DynamicObject) -> Result<News, CrdError>,
) -> Option<News> {
    let named =
        |object: &DynamicObject| object.meta().name.as_deref().map(|name| owner(name.into()));
    trimmed(
        event,
        Scope::all(kind),
        |object| {
            let owner = named(&object)?;
            Some(read(object).unwrap_or_else(|error| Event::Unreadable(owner, error)))
        },
        |object| named(&object).map(Event::OwnerDeleted),
    )
}

fn endpoints_deleted(namespace: Option<String>, name: Option<String>) -> Option<News> {
    Some(Event::EndpointsDeleted { namespace: namespace?.into(), name: name?.into() })
}

fn told<T, E: std::error::Error>(object: Result<T, E>) -> Option<T> {
    object
        .map_err(|error| tracing::warn!(%error, "an object of the API server is passed over"))
        .ok()
}
