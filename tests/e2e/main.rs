//! finial in a real Kubernetes of one node, under the manifests and commands of the guides that its users
//! follow. `make test` builds the image and brings what the cluster is made of; without them, or without
//! root, these tests fail. Each starts a cluster of its own, one at a time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and the measured times are for the one who reads its output"
)]

mod charts;
mod cluster;
mod faults;
mod figures;
mod guide;
mod mesh;
mod quick_start;
mod readme;
mod rights;
