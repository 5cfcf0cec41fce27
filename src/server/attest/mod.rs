//! Node attestation: how an agent proves which node it runs on, one file per way.

pub mod join_token;
