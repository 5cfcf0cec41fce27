//! The flags that describe an entry, shared by `create` and `update`, and the entry they make.

use crate::{
    cli::{
        flags::FlagSet,
        server::matching::{self, SelectorError},
    },
    spiffe::{SpiffeId, id},
    wire::proto::spire::api::types::{Entry, Spiffeid, entry::AdditionalAttributes},
};

/// What the user says of an entry.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    pub(super) parent_id: String,
    pub(super) spiffe_id: String,
    pub(super) selectors: Vec<String>,
    pub(super) federates_with: Vec<String>,
    pub(super) disable_x509_svid_prefetch: Option<bool>,
    pub(super) jwt_svid_include_jti: Option<bool>,
    x509_svid_ttl: i64,
    jwt_svid_ttl: i64,
    admin: bool,
    store_svid: bool,
    downstream: bool,
    expiry: i64,
    dns_names: Vec<String>,
    hint: String,
}

/// Flags that make no entry. The texts are SPIRE's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// `update` without `-entryID`.
    #[error("entry ID is required")]
    NoEntryId,
    /// No `-selector`.
    #[error("at least one selector is required")]
    NoSelector,
    /// `create` without `-parentID`.
    #[error("a parent ID is required if the node flag is not set")]
    NoParentOrNode,
    /// `update` without `-parentID`.
    #[error("a parent ID is required")]
    NoParent,
    /// No `-spiffeID`.
    #[error("a SPIFFE ID is required")]
    NoSpiffeId,
    /// `-node` with `-federatesWith`.
    #[error("node entries can not federate")]
    NodeFederates,
    /// A negative lifetime.
    #[error("a positive {0} TTL is required")]
    NegativeTtl(&'static str),
    /// A lifetime of more than 68 years.
    #[error("invalid value for {name} TTL: {seconds} seconds, expected at most {}", i32::MAX)]
    LongTtl {
        /// Which lifetime.
        name: &'static str,
        /// What was asked for.
        seconds: i64,
    },
    /// Not a SPIFFE ID.
    #[error(transparent)]
    Id(#[from] id::Error),
    /// Not a selector.
    #[error(transparent)]
    Selector(#[from] SelectorError),
}

impl Attributes {
    /// Adds its flags.
    pub(super) fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        flags.add(
            "parentID",
            &mut self.parent_id,
            "The SPIFFE ID of the agent or alias below which the entry is",
        );
        flags.add("spiffeID", &mut self.spiffe_id, "The SPIFFE ID that matching workloads get");
        flags.add(
            "x509SVIDTTL",
            &mut self.x509_svid_ttl,
            "The life of X.509-SVIDs in seconds; 0 is the server's default",
        );
        flags.add(
            "jwtSVIDTTL",
            &mut self.jwt_svid_ttl,
            "The life of JWT-SVIDs in seconds; 0 is the server's default",
        );
        flags.add(
            "selector",
            &mut self.selectors,
            "A selector type:value that a workload must have; repeat it for several",
        );
        flags.add(
            "federatesWith",
            &mut self.federates_with,
            "A trust domain whose bundle matching workloads get; repeat it for several",
        );
        flags.add(
            "admin",
            &mut self.admin,
            "Let the SPIFFE ID use the server's administration API",
        );
        flags.add("storeSVID", &mut self.store_svid, "Let the agent store the SVID by a plugin");
        flags.add("downstream", &mut self.downstream, "The entry is for a downstream server");
        flags.add(
            "entryExpiry",
            &mut self.expiry,
            "When the entry is to be removed, in seconds since 1970; 0 is never",
        );
        flags.add("dns", &mut self.dns_names, "A DNS name in the SVID; repeat it for several");
        flags.add(
            "hint",
            &mut self.hint,
            "A text that tells entries with the same SPIFFE ID apart",
        );
        flags.add(
            "disableX509SVIDPrefetch",
            &mut self.disable_x509_svid_prefetch,
            "Let the agent sign the SVID only when a workload asks for it",
        );
        flags.add(
            "jwtSVIDIncludeJTI",
            &mut self.jwt_svid_include_jti,
            "Give each JWT-SVID a claim jti of its own",
        );
    }

    /// Checks what can be checked without the server, in SPIRE's order, which decides the message.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub(super) fn check_lifetimes(&self) -> Result<(), Error> {
        if self.x509_svid_ttl < 0 {
            return Err(Error::NegativeTtl("x509-SVID"));
        }
        if self.jwt_svid_ttl < 0 {
            return Err(Error::NegativeTtl("JWT-SVID"));
        }
        Ok(())
    }

    /// The entry, without an ID of its own, below `parent_id`.
    ///
    /// # Errors
    /// When a lifetime or a selector has the wrong form.
    pub(super) fn entry(&self, spiffe_id: Spiffeid, parent_id: Spiffeid) -> Result<Entry, Error> {
        let attributes = AdditionalAttributes {
            disable_x509_svid_prefetch: self.disable_x509_svid_prefetch.unwrap_or_default(),
            jwt_svid_include_jti: self.jwt_svid_include_jti.unwrap_or_default(),
        };
        Ok(Entry {
            spiffe_id: Some(spiffe_id),
            parent_id: Some(parent_id),
            selectors: matching::selectors(&self.selectors)?,
            x509_svid_ttl: ttl("X509 SVID", self.x509_svid_ttl)?,
            jwt_svid_ttl: ttl("JWT SVID", self.jwt_svid_ttl)?,
            federates_with: self.federates_with.clone(),
            admin: self.admin,
            downstream: self.downstream,
            expires_at: self.expiry,
            dns_names: self.dns_names.clone(),
            store_svid: self.store_svid,
            hint: self.hint.clone(),
            additional_attributes: (attributes != AdditionalAttributes::default())
                .then_some(attributes),
            ..Entry::default()
        })
    }
}

/// Reads a SPIFFE ID.
///
/// # Errors
/// The rule that it breaks.
pub(super) fn spiffe_id(text: &str) -> Result<Spiffeid, id::Error> {
    Ok(Spiffeid::from(&SpiffeId::parse(text)?))
}

fn ttl(name: &'static str, seconds: i64) -> Result<i32, Error> {
    i32::try_from(seconds).map_err(|_| Error::LongTtl { name, seconds })
}
