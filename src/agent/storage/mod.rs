//! What outlives the agent's process. On disk: who the agent is and whom it trusts, in SPIRE's form. In
//! memory that outlives the process, never on disk: the workloads' identities.
//!
//! All of it is a cache: a damaged file is set aside, and the agent starts without it.

pub mod file;
pub mod handover;
pub mod keys;
pub mod memory;
pub mod node;
pub mod parcel;

pub use handover::Handover;
pub use keys::{Keys, Slot};
pub use node::{NodeFile, NodeState};
