//! What the agent counts. Names of SPIRE are kept where the thing is the same, so that dashboards stay;
//! no label has a value that a workload can choose.

pub mod serve;
pub mod upkeep;

pub use serve::{Api, ServeMetrics};
pub use upkeep::{Outcome, UpkeepMetrics};
