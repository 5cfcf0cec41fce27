//! What watches tell the plan.
//!
//! An object is gone when a `Deleted` says so, or when a list that was completed does not have it. Nothing
//! else means so: not an error, not an object that cannot be read, not a list that was given up.

use super::{endpoints::Endpoints, node::Namespace, node::Node, owner::Owner, pod::Pod};
use crate::controller::crd::{ClusterSpiffeId, ClusterStaticEntry, CrdError};
use std::{fmt, sync::Arc};

/// One piece of news of the cluster.
#[derive(Debug)]
pub enum Event {
    /// A pod is there, or changed.
    PodApplied(Arc<Pod>),
    /// The pod with this UID is gone.
    PodDeleted(Arc<str>),
    /// A namespace is there, or changed.
    NamespaceApplied(Namespace),
    /// The namespace of this name is gone.
    NamespaceDeleted(Arc<str>),
    /// A node is there, or changed.
    NodeApplied(Arc<Node>),
    /// The node of this name is gone.
    NodeDeleted(Arc<str>),
    /// A part of the pods behind a service is there, or changed.
    EndpointsApplied(Endpoints),
    /// A part of the pods behind a service is gone.
    EndpointsDeleted {
        /// Its namespace.
        namespace: Arc<str>,
        /// Its name.
        name: Arc<str>,
    },
    /// A ClusterSPIFFEID is there, or changed.
    SpiffeIdApplied(Box<ClusterSpiffeId>),
    /// A ClusterStaticEntry is there, or changed.
    StaticEntryApplied(Box<ClusterStaticEntry>),
    /// A custom resource is there, but cannot be read: what it gave stays as it is.
    Unreadable(Owner, CrdError),
    /// A custom resource is gone.
    OwnerDeleted(Owner),
    /// A list begins: what is not applied until it ends is gone. One that begins before the other of the
    /// same scope has ended takes its place.
    ListBegan(Scope),
    /// A list came to its end.
    ListEnded(Scope),
    /// This kind is not offered or not allowed, and the controller shall do without it.
    Renounced(Kind),
}

/// What a list tells everything of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// The kind of object.
    pub kind: Kind,
    /// The only namespace that is listed, for pods and endpoints; nothing means all.
    pub namespace: Option<Arc<str>>,
}

/// A kind of object that the plan follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Pods.
    Pods,
    /// Namespaces.
    Namespaces,
    /// Nodes.
    Nodes,
    /// EndpointSlices, or Endpoints.
    Endpoints,
    /// ClusterSPIFFEIDs.
    SpiffeIds,
    /// ClusterStaticEntries.
    StaticEntries,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Pods,
        Self::Namespaces,
        Self::Nodes,
        Self::Endpoints,
        Self::SpiffeIds,
        Self::StaticEntries,
    ];
}

impl Scope {
    /// All objects of a kind.
    #[must_use]
    pub const fn all(kind: Kind) -> Self {
        Self { kind, namespace: None }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pods => "pods",
            Self::Namespaces => "namespaces",
            Self::Nodes => "nodes",
            Self::Endpoints => "endpoints",
            Self::SpiffeIds => "ClusterSPIFFEIDs",
            Self::StaticEntries => "ClusterStaticEntries",
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            None => self.kind.fmt(f),
            Some(namespace) => write!(f, "{} of {namespace}", self.kind),
        }
    }
}
