//! The server: signs identities for the agents that it has attested, by the entries that it stores.

pub mod api;
pub mod authorize;
pub mod authorized;
pub mod ca;
pub mod caller;
pub mod config;
pub mod ratelimit;
pub mod registration;
pub mod store;

mod admins;
