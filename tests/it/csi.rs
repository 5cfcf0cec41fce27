//! The CSI driver, called over its sockets as a kubelet calls it, with real mounts in mount namespaces of
//! the tests' own. They need root and fail without.

mod bad_input;
mod health;
mod lasting;
mod mounts;
pub(crate) mod node;
mod process;
mod registration;
