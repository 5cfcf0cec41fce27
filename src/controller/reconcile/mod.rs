//! Brings the server's entries to what the cluster calls for, and keeps them there.
//!
//! `reconciler` is the loop: news of the cluster go into the plan, what changed in it goes to the server by
//! `calls`; `refusals` remembers what the server would not take, `reports` says how each custom resource
//! fares.

mod calls;
mod reconciler;
mod refusals;
mod reports;

pub(super) use reconciler::{Parts, Reconciler};
