//! What other trust domains see of this one.

mod endpoint;

pub(super) use endpoint::Endpoint;
pub use endpoint::EndpointError;
