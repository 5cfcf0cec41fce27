//! A rule and a pod, or a ClusterStaticEntry, give an entry or a reason why not.

mod annotations;
mod contradiction;
mod failure;
mod pod;
mod static_entry;
mod values;

pub use failure::{Failure, Part};
pub use pod::{Rendered, Subject, entry, parent};
pub use static_entry::static_entry;

#[cfg(test)]
mod tests;
