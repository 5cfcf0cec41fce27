//! The Kubernetes API server as finial's programs ask it. The crates of Kubernetes are named here only.

pub mod client;
pub mod error;
pub mod lookup;
pub mod token_review;

pub use client::{Access, KubeClient};
pub use error::{Fault, KubeError};
