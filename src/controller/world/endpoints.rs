//! One part of the pods behind a service: an EndpointSlice, or an Endpoints object where slices are not
//! served.

use std::{collections::BTreeSet, sync::Arc};

/// Pods behind a service, ready or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The namespace of service, slice and pods.
    pub namespace: Arc<str>,
    /// The name of the slice; a service has several.
    pub name: Arc<str>,
    /// The name of the service.
    pub service: Arc<str>,
    /// The UIDs of the pods.
    pub pods: BTreeSet<Arc<str>>,
}
