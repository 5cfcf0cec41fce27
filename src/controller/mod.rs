//! The controller: what Kubernetes declares becomes registration entries of the server.

pub mod config;

pub use config::ControllerConfig;
