//! The raw limits: the same work with nothing around it, measured in the run that they are used in.

mod clients;
pub(crate) mod crypto;
pub(crate) mod rotation;
pub(crate) mod socket;
pub(crate) mod sqlite;
