//! `agent list|count|show|evict|ban`: the agents that attested.

pub(super) mod block;
pub(super) mod filter;
pub(super) mod list;
pub(super) mod one;
