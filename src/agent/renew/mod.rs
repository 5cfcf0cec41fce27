//! The workloads' SVIDs: signed when they are wanted, renewed before they end.

pub mod batch;
mod schedule;
pub mod task;

pub use task::{Renewal, RenewalParts};
