//! The node agent: attests its callers and streams them their identities.

pub mod cache;
pub mod config;
pub mod metrics;
pub mod serve;
pub mod storage;
pub mod workload;

mod digest;
