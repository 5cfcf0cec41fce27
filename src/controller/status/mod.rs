//! What became of each custom resource, written where its author looks: the object's status, and an Event
//! when it stops working.
//!
//! `report` says it in a status' terms; `writer` writes it, the latest only, and only what changed; `events`
//! tells of what stopped working.

mod events;
mod place;
mod report;
mod writer;

pub(super) use report::{Ready, Report};
pub(super) use writer::{StatusBoard, StatusWriter};
