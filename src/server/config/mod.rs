//! What the server runs with, and where it comes from: a file, the flags of `run`, and SPIRE's defaults.

mod bundle_maps;
pub mod default;
mod federation;
mod flags;
mod load;
mod model;
mod psat;
mod raw;
mod validate;

pub use flags::Overrides;
pub use load::{load, read};
pub use model::{
    AgentIdFrom, BundleEndpoint, BundleForm, BundleFormat, BundleMap, CaConfig, CaSubject,
    DataStore, KeyManager, NodeAttestor, PsatCluster, RateLimit, ServerConfig,
};
