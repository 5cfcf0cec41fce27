//! `finial dev`: server, agent and two Envoys on one machine, with one command.

pub mod directory;
pub mod envoy;
pub mod error;
pub mod load;
pub mod mesh;
pub mod options;
pub mod programs;
pub mod progress;
pub mod run;
pub mod screen;
pub mod server_api;
pub mod summary;
pub mod usage;

mod stage;
