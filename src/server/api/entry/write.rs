//! What answers of the entry service say, from the domain's terms.

use crate::{
    spiffe::Entry,
    wire::{entry::apply_mask, proto::spire::api::types},
};

/// The wire form of `entry` with what `mask` asks for; no mask asks for all.
pub(super) fn masked(entry: &Entry, mask: Option<&types::EntryMask>) -> types::Entry {
    let mut wire = types::Entry::from(entry);
    apply_mask(&mut wire, mask);
    wire
}
