//! The node agent: attests its callers and streams them their identities.

pub mod cache;
pub mod config;
pub mod identity;
pub mod metrics;
pub mod node_attestation;
pub mod observer;
pub mod pages;
pub mod patience;
pub mod renew;
pub mod serve;
pub mod start;
pub mod storage;
pub mod succession;
pub mod sync;
pub mod upkeep;
pub mod upstream;
pub mod workload;

mod digest;

pub use observer::{Observer, ServedIdentity};
pub use upstream::Upstream;
