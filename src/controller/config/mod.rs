//! What the controller is told at its start: spire-controller-manager's file, read as it is.

pub mod file;
pub mod model;
pub mod validate;

mod cluster_domain;
mod error;

pub use error::ConfigError;
pub use model::ControllerConfig;
