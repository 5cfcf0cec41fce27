//! What the agent runs with, and where it comes from: a file, the flags of `run`, and SPIRE's defaults.

pub mod default;
mod flags;
mod k8s;
mod load;
mod model;
mod raw;
mod validate;

pub use flags::Overrides;
pub use load::{load, read};
pub use model::{
    AgentConfig, Bootstrap, BundleFormat, CertificateValidation, ContainerSelectors, Executable,
    JoinToken, K8s, KeyManager, KubeletAddress, NodeAttestor, NodeName, Sds, ServerAddress,
    WorkloadAttestor,
};
