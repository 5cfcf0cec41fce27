//! Node attestation: how the agent proves to the server which node it is on.

pub mod attestor;
pub mod exchange;
pub mod join_token;
pub mod k8s_psat;

pub use attestor::NodeAttestor;
