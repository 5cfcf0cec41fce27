//! The node agent: attests its callers and streams them their identities.

pub mod cache;
pub mod config;
pub mod metrics;
