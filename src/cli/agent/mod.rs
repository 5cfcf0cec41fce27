//! The commands of the agent: `spire-agent …`, `finial agent …`.

mod commands;
mod connection;
mod debug;
mod fetch;
mod health;
mod received;
mod run;
mod sds;
mod secrets;
mod settings;
mod validate;
mod watch;
mod workload;
mod write;

pub(super) use commands::COMMANDS;
