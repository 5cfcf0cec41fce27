//! What operators see of a running program: its log, its metrics, and the HTTP pages for both.
//!
//! Nothing here may ever hold up the work it tells of: a log line that cannot be written is dropped and
//! counted, a page is made from what is in memory.

pub mod http;
pub mod log;
pub mod metrics;

mod line;
mod sink;

pub use log::Logging;
pub use metrics::{Metrics, Tally};
