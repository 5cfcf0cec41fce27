//! The command line against what SPIRE printed, and against input that nobody should type.

mod answers;
mod bad_input;
mod fake_agent;
mod fake_server;
mod programs;
mod recorded;
mod transcript;
