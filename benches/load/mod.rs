//! The load generator: thousands of sidecars in one process, each an HTTP/2 connection with its SDS
//! streams, that acknowledge like Envoy and check what they are given. It needs a socket and knows
//! nothing of the product behind it.

pub(crate) mod check;
pub(crate) mod command;
pub(crate) mod fleet;
mod sidecar;
pub(crate) mod stats;
pub(crate) mod tally;
