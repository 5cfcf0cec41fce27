//! The custom resources of group `spire.spiffe.io/v1alpha1`, as spire-controller-manager defines them.
//!
//! Fields keep upstream's JSON names, however irregular; unknown ones are tolerated. [`read()`] turns what
//! the API server sends into one of them or says why not, so that an object that cannot be read is told
//! from one that is gone.

mod duration;
mod federated;
mod read;
mod spiffe_id;
mod static_entry;

pub use duration::GoDuration;
pub use federated::{
    BundleEndpointProfile, ClusterFederatedTrustDomain, ClusterFederatedTrustDomainSpec,
    ClusterFederatedTrustDomainStatus, EndpointProfile, FederationError, ProfileType, Relationship,
};
pub use read::{CrdError, read};
pub use spiffe_id::{
    ClusterSpiffeId, ClusterSpiffeIdSpec, ClusterSpiffeIdStats, ClusterSpiffeIdStatus,
};
pub use static_entry::{ClusterStaticEntry, ClusterStaticEntrySpec, ClusterStaticEntryStatus};
