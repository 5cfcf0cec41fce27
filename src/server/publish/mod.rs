//! The trust bundle where those find it who cannot ask the server: agents that start, and other tools.

mod config_map;
mod form;
mod metrics;

pub(super) use config_map::Keeper;
pub(super) use metrics::PublishMetrics;
