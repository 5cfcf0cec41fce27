//! What the server is asked for, by what it has.

use super::*;
use crate::spiffe::{Selector, SpiffeId, entry::Hint};

/// An entry under a node.
pub(crate) fn entry(id: &str, spiffe_id: &str, selector: &str) -> Entry {
    Entry {
        id: EntryId::parse(id).unwrap(),
        revision: 0,
        created_at: 0,
        spec: spec(spiffe_id, selector),
    }
}

fn spec(spiffe_id: &str, selector: &str) -> EntrySpec {
    EntrySpec {
        spiffe_id: SpiffeId::parse(spiffe_id).unwrap(),
        parent_id: SpiffeId::parse("spiffe://d/node").unwrap(),
        selectors: [Selector::parse(selector).unwrap()].into_iter().collect(),
        x509_svid_ttl_secs: 0,
        jwt_svid_ttl_secs: 0,
        federates_with: Vec::new(),
        admin: false,
        downstream: false,
        expires_at: 0,
        dns_names: Vec::new(),
        store_svid: false,
        hint: Hint::default(),
        disable_x509_svid_prefetch: false,
        jwt_svid_include_jti: false,
    }
}
