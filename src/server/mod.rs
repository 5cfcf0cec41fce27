//! The server: signs identities, keeps registration entries, attests nodes, publishes bundles.

pub mod config;
