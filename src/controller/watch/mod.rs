//! What the cluster tells: one task a kind follows it and sends on what happened.
//!
//! `source` is what a kind says of itself; `objects` are Kubernetes' own kinds and `resources` ours;
//! `follow` keeps a watch going whatever happens to it; `refusal` decides when a kind that is not to be had
//! is done without.

mod follow;
mod objects;
mod refusal;
mod resources;
mod source;

pub(super) use follow::{Follower, follow};
pub(super) use objects::{EndpointSlices, Endpoints, Namespaces, Nodes, Pods, Trim};
pub(super) use resources::{Federations, SpiffeIds, StaticEntries};
pub(super) use source::{News, Source};
