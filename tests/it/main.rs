//! The facts finial promises, through its public doors: one binary, a module per behaviour.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod architecture;
mod conformance;
mod entry_api;
mod load_generator;
mod store;
mod uds;
