//! Names a custom resource, and says where the API server has it.

use kube::api::ApiResource;
use std::sync::Arc;

/// An object: its kind and its name.
pub(in crate::controller) type Place = (&'static str, Arc<str>);

pub(super) const GROUP: &str = "spire.spiffe.io";
pub(super) const VERSION: &str = "v1alpha1";

/// The kind as the API server knows it.
pub(super) fn resource(kind: &str) -> ApiResource {
    let lower = kind.to_lowercase();
    let plural = match lower.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{lower}s"),
    };
    ApiResource {
        group: GROUP.to_owned(),
        version: VERSION.to_owned(),
        api_version: format!("{GROUP}/{VERSION}"),
        kind: kind.to_owned(),
        plural,
    }
}
