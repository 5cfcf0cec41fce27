//! What the cluster tells: one task a kind follows it and sends on what happened.
//!
//! `source` says of each kind how it is asked for and what its objects become; `follow` keeps a watch
//! going whatever happens to it; `refusal` decides when a kind that is not to be had is done without.

mod follow;
mod refusal;
mod source;

pub(super) use follow::{Follower, follow};
pub(super) use source::{
    EndpointSlices, Endpoints, Federations, Namespaces, News, Nodes, Pods, Source, SpiffeIds,
    StaticEntries, Trim,
};
