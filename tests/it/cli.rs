//! The command line against what SPIRE printed, and against input that nobody should type.

mod answers;
mod bad_config;
mod bad_input;
mod fake_agent;
mod programs;
mod real_server;
mod recorded;
mod running;
mod transcript;
