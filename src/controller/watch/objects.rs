//! Kubernetes' own kinds: pods, namespaces, nodes, and the endpoints of services. Each object is trimmed
//! before anything is kept of it.

use super::source::{News, Source, WhenRefused, news};
use crate::controller::{
    config::model::NamespaceScope,
    world::{Event, Kind, Scope, Trimmer},
};
use k8s_openapi::api::{core::v1 as core, discovery::v1::EndpointSlice};
use kube::{Api, Client, Resource, core::NamespaceResourceScope, runtime::watcher};
use parking_lot::Mutex;
use std::sync::Arc;

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
        news(
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
        news(
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
        news(
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
        news(
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
        news(
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

fn endpoints_deleted(namespace: Option<String>, name: Option<String>) -> Option<News> {
    Some(Event::EndpointsDeleted { namespace: namespace?.into(), name: name?.into() })
}

fn told<T, E: std::error::Error>(object: Result<T, E>) -> Option<T> {
    object
        .map_err(|error| tracing::warn!(%error, "an object of the API server is passed over"))
        .ok()
}
