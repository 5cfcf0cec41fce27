//! The commands of the server: `spire-server …`, `finial server …`.

mod agent;
mod bundle;
mod commands;
mod connection;
mod entry;
mod health;
mod matching;
mod plural;
mod run;
mod settings;
mod token;
mod validate;

pub(super) use commands::COMMANDS;
