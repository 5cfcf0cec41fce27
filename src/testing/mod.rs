//! Small real parts for tests and benches: authorities, clients, servers. The product uses none of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a broken test set-up ends the test, and the panic is its message"
)]

pub mod apiserver;
pub mod ca;
pub mod cgroup;
pub mod envoy;
pub mod grpc;
pub mod kubelet;
pub mod node;
pub mod sds;
pub mod sds_proxy;
pub mod sds_server;
pub mod secret;
pub mod serving;
pub mod spire_server;
