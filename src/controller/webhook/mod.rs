//! The admission webhooks: a CR that cannot work is refused when it is written, in the words that its
//! status would have.
//!
//! `serve` accepts the API server's connections → `review` reads what is asked → `judge` says what is
//! wrong with the object. `keeper` looks after the certificate (`certificate`) and tells the API server
//! whom to trust (`bundle`). Served by leaders and standbys alike.

mod advice;
mod bundle;
mod certificate;
mod judge;
mod keeper;
mod review;
mod serve;

pub(super) use judge::Judge;
pub(super) use keeper::Keeper;
pub(super) use serve::serve;
