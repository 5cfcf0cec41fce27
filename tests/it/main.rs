//! The facts finial promises, through its public doors: one binary, a module per behaviour.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod agent;
mod architecture;
mod bench_rows;
mod bundle_maps;
mod ca;
mod charts;
mod cli;
mod conformance;
mod controller;
mod csi;
mod dev;
mod doctor;
mod doctor_cluster;
mod entry_api;
mod envoy_ca;
mod envoy_crowd;
mod envoy_handover;
mod envoy_late;
mod envoy_refusal;
mod envoy_restart;
mod envoy_rotation;
mod events;
mod field;
mod foreign_clients;
mod k8s_psat;
mod k8s_workload;
mod key_secret;
mod load_generator;
mod peers;
mod readme;
mod sds_bad_input;
mod sds_stream;
mod server;
mod specification;
mod spire_interop;
mod store;
mod uds;
mod workload_api;
