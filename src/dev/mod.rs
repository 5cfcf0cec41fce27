//! `finial dev`: server, agent and two Envoys on one machine, with one command.

pub mod envoy;
pub mod load;
pub mod mesh;
