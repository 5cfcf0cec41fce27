//! The command line against what SPIRE printed, and against input that nobody should type.

mod answers;
mod bad_config;
mod bad_input;
mod fake_agent;
mod fetch_sds;
pub(crate) mod programs;
pub(crate) mod real_server;
pub(crate) mod recorded;
mod running;
pub(crate) mod transcript;
