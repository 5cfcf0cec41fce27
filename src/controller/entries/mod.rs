//! The server's entries, over its private socket: lists of pages, batches, and what became of each item.

mod api;
mod error;

pub(super) use api::{CREATE_BATCH, Created, DELETE_BATCH, EntryApi, UPDATE_BATCH};
pub(super) use error::{ApiError, Refusal};
