//! What the server runs with, and where it comes from: a file, the flags of `run`, and SPIRE's defaults.

pub mod default;
mod flags;
mod load;
mod model;
mod psat;
mod raw;
mod validate;

pub use flags::Overrides;
pub use load::{load, read};
pub use model::{
    AgentIdFrom, CaConfig, CaSubject, DataStore, KeyManager, NodeAttestor, PsatCluster, RateLimit,
    ServerConfig,
};
