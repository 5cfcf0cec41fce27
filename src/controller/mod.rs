//! The controller: which registration entries the pods and custom resources of a cluster call for, and how
//! the server comes to have them.
//!
//! What decides is pure. Read it in this order: [`crd`] (the custom resources), [`world`] (what is kept of
//! pods, nodes, namespaces and services), [`rule`] (a ClusterSPIFFEID made ready), [`template`] and
//! [`render`] (a rule and a pod give a [`wanted`] entry), [`plan`] (all that is wanted, kept up event by
//! event), [`ledger`] (what the server has, and the changes that bring it there).
//!
//! What watches and writes stands around it: `watch` (one task a kind sends the cluster's news),
//! `reconcile` (the loop that owns the plan), `entries` (the calls to the server), `lease` (which of
//! several controllers writes), `status` (what became of each custom resource), `federation`, and
//! `webhook`, which refuses what cannot work. [`start`] puts them together.

pub mod config;
pub mod crd;
pub mod guard;
pub mod lease;
pub mod ledger;
pub mod ownership;
pub mod plan;
pub mod render;
pub mod rule;
pub mod settings;
pub mod start;
pub mod template;
pub mod wanted;
pub mod world;

mod entries;
mod federation;
mod metrics;
mod reconcile;
mod status;
mod watch;
mod webhook;

pub use config::ControllerConfig;
pub use start::{Controller, RunningController};
pub use world::{LabelQuery, LabelSelector, Labels};
