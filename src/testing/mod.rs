//! Small servers, clients and authorities for tests and benches. Nothing in the product uses them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot set itself up has failed"
)]

pub mod ca;
