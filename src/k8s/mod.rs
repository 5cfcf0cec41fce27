//! Kubernetes as finial's programs ask it: the API server, and the kubelet of the own node. The crates of
//! Kubernetes are named here only.

pub mod client;
pub mod config_map;
pub mod document;
pub mod error;
pub mod kubelet;
pub mod lookup;
pub mod pods;
pub mod secret;
pub mod tls;
pub mod token_review;

pub use client::{Access, KubeClient};
pub use document::Place;
pub use error::{Fault, KubeError};
