//! The agent: attests the node and its workloads, and keeps their identities fresh.

pub mod metrics;
