//! The controller: what Kubernetes declares becomes registration entries of the server.

pub mod config;

pub use config::ControllerConfig;
//! What `finial controller` decides: which registration entries the pods and custom resources of a
//! cluster call for. Everything here is a function of values; what watches and writes lives beside it.
//!
//! Read in this order: [`crd`] (the custom resources), [`world`] (what is kept of pods, nodes, namespaces
//! and services), [`rule`] (a ClusterSPIFFEID made ready), [`template`] and [`render`] (a rule and a pod
//! give a [`wanted`] entry), [`plan`] (all that is wanted, kept up event by event), [`ledger`] (what the
//! server has, and the changes that bring it there).

pub mod crd;
pub mod guard;
pub mod ledger;
pub mod ownership;
pub mod plan;
pub mod render;
pub mod rule;
pub mod settings;
pub mod template;
pub mod wanted;
pub mod world;
