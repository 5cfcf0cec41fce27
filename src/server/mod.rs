//! The server: signs identities for the agents that it has attested, by the entries that it stores.

pub mod api;
pub mod attest;
pub mod authorize;
pub mod authorized;
pub mod ca;
pub mod caller;
pub mod config;
pub mod federation;
pub mod gate;
pub mod identity;
pub mod listen;
pub mod metrics;
pub mod ratelimit;
pub mod registration;
pub mod start;
pub mod store;

mod admins;
mod pages;
mod parts;
mod publish;
mod watched;

pub use ca::CaState;
