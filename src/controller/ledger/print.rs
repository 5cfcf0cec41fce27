//! A short print of the fields in which an entry may differ from what is wanted.

use crate::spiffe::EntrySpec;
use aws_lc_rs::digest::{Context, SHA256};

/// The fields that upstream compares, told apart by 128 bits: TTLs, trust domains and DNS names as sets,
/// flags, hint. The rest of an entry is its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Print(u128);

impl Print {
    pub(super) fn of(spec: &EntrySpec) -> Self {
        let mut hash = Context::new(&SHA256);
        let flags = [spec.admin, spec.downstream, spec.store_svid];
        hash.update(&spec.x509_svid_ttl_secs.to_be_bytes());
        hash.update(&spec.jwt_svid_ttl_secs.to_be_bytes());
        hash.update(&flags.map(u8::from));
        let mut domains: Vec<_> = spec.federates_with.iter().map(|domain| domain.name()).collect();
        let mut names: Vec<_> = spec.dns_names.iter().map(|name| name.as_str()).collect();
        let mut hint = vec![spec.hint.as_str()];
        for texts in [&mut domains, &mut names, &mut hint] {
            texts.sort_unstable();
            hash.update(&texts.len().to_be_bytes());
            for text in texts {
                hash.update(&text.len().to_be_bytes());
                hash.update(text.as_bytes());
            }
        }
        let digest = hash.finish();
        Self(digest.as_ref().iter().take(16).fold(0, |print, byte| print << 8 | u128::from(*byte)))
    }
}
