//! Entries and bundles as bytes at rest: the same messages that travel, so that a record written by one
//! version is read by the next.

use super::{
    bundle::{self, BundleError},
    entry::{self, EntryError},
    proto::spire::api::types,
};
use crate::spiffe::{Bundle, Entry};
use prost::Message as _;

/// Bytes that are no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not the message it should be.
    #[error("malformed record")]
    Malformed(#[from] prost::DecodeError),
    /// The entry in it breaks a rule.
    #[error("record holds an invalid entry")]
    Entry(#[from] EntryError),
    /// The bundle in it is broken.
    #[error("record holds an invalid bundle")]
    Bundle(#[from] BundleError),
}

/// An entry as bytes.
#[must_use]
pub fn of_entry(entry: &Entry) -> Vec<u8> {
    types::Entry::from(entry).encode_to_vec()
}

/// Reads what [`of_entry`] wrote.
///
/// # Errors
/// When the bytes are no record of a valid entry.
pub fn entry(bytes: &[u8]) -> Result<Entry, RecordError> {
    Ok(entry::entry(&types::Entry::decode(bytes)?)?)
}

/// A bundle as bytes.
#[must_use]
pub fn of_bundle(bundle: &Bundle) -> Vec<u8> {
    types::Bundle::from(bundle).encode_to_vec()
}

/// Reads what [`of_bundle`] wrote.
///
/// # Errors
/// When the bytes are no record of a valid bundle.
pub fn bundle(bytes: &[u8]) -> Result<Bundle, RecordError> {
    Ok(bundle::bundle(&types::Bundle::decode(bytes)?)?)
}
