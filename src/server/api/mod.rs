//! The server's gRPC services, one module each: they read requests, ask the domain, write answers.

pub mod agent;
pub mod bundle;
pub mod entry;
pub mod health;
pub mod routes;
pub mod svid;
pub mod watch;

mod ids;
mod nodes;
