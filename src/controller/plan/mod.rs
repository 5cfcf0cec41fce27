//! All entries that the server shall have, kept up event by event.
//!
//! Pure and synchronous: one task owns a plan, tells it the news of the cluster and asks what changed. An
//! event marks what it may change, [`Plan::recompute`] looks at what is marked and at nothing else.
//!
//! What was wanted stays wanted until there is positive evidence against it. A pod whose entry cannot be
//! rendered any more, a custom resource that cannot be read, a node that is not known: all of them keep
//! what they had. Only objects that are gone, or that say something else now, take an entry away.

mod apply;
mod claims;
mod cluster;
mod delta;
mod disown;
mod evaluate;
mod lists;
mod outcome;
mod owners;
mod place;
mod report;
mod state;

pub use delta::{Delta, Evidence, Unset};
pub use disown::Doubt;
pub(in crate::controller) use disown::pod_uid;
pub use owners::Problem;
pub use report::{RuleReport, StaticReport, Stats};
pub use state::Plan;

#[cfg(test)]
mod tests;
