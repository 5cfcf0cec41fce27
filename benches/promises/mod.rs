//! One module per promise: what it starts, what it measures, and the rows that come of it.

pub(crate) mod controller_convergence;
pub(crate) mod controller_events;
pub(crate) mod csi_publish;
pub(crate) mod entry_create;
pub(crate) mod fanout;
pub(crate) mod idle;
pub(crate) mod late_registration;
pub(crate) mod memory;
pub(crate) mod rotation;
pub(crate) mod settings;
pub(crate) mod storm;
pub(crate) mod svid_sign;

use std::time::Duration;

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A count as a figure.
pub(crate) fn number(count: impl TryInto<u32>) -> f64 {
    count.try_into().map_or(f64::INFINITY, f64::from)
}
