//! What the controller keeps of a cluster: plain values, trimmed to what selectors and templates can ask.

mod endpoints;
mod event;
mod labels;
mod node;
mod owner;
mod pod;
mod query;
mod share;
mod trim;

pub use endpoints::Endpoints;
pub use event::{Event, Kind, Scope};
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
pub use labels::Labels;
pub use node::{Namespace, Node};
pub use owner::Owner;
pub use pod::{Container, OwnerReference, Phase, Pod, PodSpec, Port};
pub use query::{LabelQuery, QueryError};
pub use share::Shelf;
pub use trim::{Trimmer, Unfit};
