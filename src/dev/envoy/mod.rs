//! Real Envoys: configured as Istio configures its proxies, started, asked and ended.

pub mod admin;
pub mod binary;
pub mod bootstrap;
pub mod certificates;
pub mod leash;
pub mod process;
pub mod stats;

pub use admin::{Admin, AdminError};
pub use bootstrap::{Part, SdsApi, Sidecar};
pub use process::{Envoy, EnvoyError};
pub use stats::Stats;
