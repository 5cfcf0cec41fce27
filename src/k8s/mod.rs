//! Kubernetes as its clients see it: what the kubelet lists.

pub mod kubelet;
pub mod pods;
pub mod tls;
