//! Workload attestation: from a caller's process to the selectors that say what it is.

pub mod accounts;
pub mod attest;
pub mod cgroup;
pub mod executable;
pub mod k8s;
pub mod listing;
pub mod process;
pub mod unix;

pub use attest::{AttestError, Attestor};
