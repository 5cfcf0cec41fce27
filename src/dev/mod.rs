//! `finial dev`: server, agent and two Envoys on one machine, with one command.

pub mod envoy;
pub mod load;
pub mod mesh;
pub mod options;
pub mod programs;
pub mod run;
pub mod screen;
pub mod summary;
mod tally;
