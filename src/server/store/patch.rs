//! A change of an entry that leaves the fields alone that it does not name.

use crate::spiffe::{EntrySpec, SelectorSet, SpiffeId, TrustDomain, dns::DnsName, entry::Hint};

/// The new values of an entry's fields; `None` keeps a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is that of `EntrySpec`")]
pub struct EntryPatch {
    pub spiffe_id: Option<SpiffeId>,
    pub parent_id: Option<SpiffeId>,
    pub selectors: Option<SelectorSet>,
    pub x509_svid_ttl_secs: Option<u32>,
    pub jwt_svid_ttl_secs: Option<u32>,
    pub federates_with: Option<Vec<TrustDomain>>,
    pub admin: Option<bool>,
    pub downstream: Option<bool>,
    pub expires_at: Option<i64>,
    pub dns_names: Option<Vec<DnsName>>,
    pub store_svid: Option<bool>,
    pub hint: Option<Hint>,
    pub disable_x509_svid_prefetch: Option<bool>,
    pub jwt_svid_include_jti: Option<bool>,
}

impl EntryPatch {
    /// `spec` with the changes.
    #[must_use]
    pub fn apply(self, spec: &EntrySpec) -> EntrySpec {
        let old = spec.clone();
        EntrySpec {
            spiffe_id: self.spiffe_id.unwrap_or(old.spiffe_id),
            parent_id: self.parent_id.unwrap_or(old.parent_id),
            selectors: self.selectors.unwrap_or(old.selectors),
            x509_svid_ttl_secs: self.x509_svid_ttl_secs.unwrap_or(old.x509_svid_ttl_secs),
            jwt_svid_ttl_secs: self.jwt_svid_ttl_secs.unwrap_or(old.jwt_svid_ttl_secs),
            federates_with: self.federates_with.unwrap_or(old.federates_with),
            admin: self.admin.unwrap_or(old.admin),
            downstream: self.downstream.unwrap_or(old.downstream),
            expires_at: self.expires_at.unwrap_or(old.expires_at),
            dns_names: self.dns_names.unwrap_or(old.dns_names),
            store_svid: self.store_svid.unwrap_or(old.store_svid),
            hint: self.hint.unwrap_or(old.hint),
            disable_x509_svid_prefetch: self
                .disable_x509_svid_prefetch
                .unwrap_or(old.disable_x509_svid_prefetch),
            jwt_svid_include_jti: self.jwt_svid_include_jti.unwrap_or(old.jwt_svid_include_jti),
        }
    }
}
