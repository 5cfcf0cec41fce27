//! The node agent: attests its callers and streams them their identities.

pub mod cache;
pub mod config;
mod digest;
pub mod metrics;
pub mod serve;
pub mod workload;
