//! Node attestation: how an agent proves which node it runs on, one file per way, and what follows
//! from a proof.

pub mod admission;
pub mod attestors;
pub mod join_token;
pub mod k8s_psat;
