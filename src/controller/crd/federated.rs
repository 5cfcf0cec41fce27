//! ClusterFederatedTrustDomain: a trust domain to federate with, and where its bundle is served.

use crate::spiffe::{SpiffeId, TrustDomain, id};
use http::Uri;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the author of a ClusterFederatedTrustDomain asks for.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "spire.spiffe.io",
    version = "v1alpha1",
    kind = "ClusterFederatedTrustDomain",
    plural = "clusterfederatedtrustdomains",
    status = "ClusterFederatedTrustDomainStatus",
    derive = "PartialEq",
    doc = "A trust domain to federate with.",
    printcolumn = r#"{"name":"Trust Domain","type":"string","jsonPath":".spec.trustDomain"}"#,
    printcolumn = r#"{"name":"Endpoint URL","type":"string","jsonPath":".spec.bundleEndpointURL"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterFederatedTrustDomainSpec {
    /// The name of the other trust domain.
    #[schemars(regex(pattern = r"[a-z0-9._-]{1,255}"))]
    pub trust_domain: String,
    /// Where its bundle is served, by HTTPS.
    #[serde(rename = "bundleEndpointURL")]
    pub bundle_endpoint_url: String,
    /// How the server of the bundle is told from another.
    pub bundle_endpoint_profile: BundleEndpointProfile,
    /// The bundle to begin with, a SPIFFE bundle document.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trust_domain_bundle: String,
    /// Which controller acts on this object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub class_name: String,
}

/// How the server of a bundle is told from another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BundleEndpointProfile {
    /// By which certificates.
    #[serde(rename = "type")]
    pub profile: ProfileType,
    /// The SPIFFE ID of the server, for `https_spiffe`.
    #[serde(default, rename = "endpointSPIFFEID", skip_serializing_if = "String::is_empty")]
    pub endpoint_spiffe_id: String,
}

/// The certificates of a bundle's server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProfileType {
    /// An X.509-SVID.
    #[default]
    #[serde(rename = "https_spiffe")]
    HttpsSpiffe,
    /// One of the Web PKI.
    #[serde(rename = "https_web")]
    HttpsWeb,
}

/// What became of a ClusterFederatedTrustDomain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterFederatedTrustDomainStatus {
    /// `Ready`, with the reason when it is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A ClusterFederatedTrustDomain whose fields make sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relationship {
    /// The other trust domain.
    pub trust_domain: TrustDomain,
    /// Where its bundle is served.
    pub endpoint: Uri,
    /// How its server is told from another.
    pub profile: EndpointProfile,
}

/// How the server of a bundle is told from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointProfile {
    /// By this SPIFFE ID.
    Spiffe(SpiffeId),
    /// By the name in the URL.
    Web,
}

/// Why a ClusterFederatedTrustDomain makes no relationship.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FederationError {
    /// The name breaks a rule.
    #[error("invalid trustDomain value {name:?}: {source}")]
    TrustDomain {
        /// The name.
        name: String,
        /// The rule.
        source: id::Error,
    },
    /// The trust domain is the controller's own.
    #[error("trustDomain {0} is this cluster's own, expected another one")]
    OwnTrustDomain(TrustDomain),
    /// No URL at all.
    #[error("invalid bundleEndpointURL value {0:?}: expected https://host/path")]
    Url(String),
    /// Another scheme than HTTPS.
    #[error("invalid bundleEndpointURL value {0:?}: expected the scheme https")]
    Scheme(String),
    /// A user or password in it, which would be shown to everyone who may read the object.
    #[error("invalid bundleEndpointURL value: expected no user info")]
    UserInfo,
    /// The ID breaks a rule, or is missing.
    #[error("invalid endpointSPIFFEID value {id:?} for the profile https_spiffe: {source}")]
    EndpointId {
        /// The ID.
        id: String,
        /// The rule.
        source: id::Error,
    },
    /// An ID where the Web PKI decides.
    #[error("endpointSPIFFEID does not apply to the profile https_web: leave it out")]
    NeedlessEndpointId,
}

impl ClusterFederatedTrustDomainSpec {
    /// Checks the fields, for a controller of the trust domain `own`.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self, own: &TrustDomain) -> Result<Relationship, FederationError> {
        let name = &self.trust_domain;
        let trust_domain = TrustDomain::parse(name)
            .map_err(|source| FederationError::TrustDomain { name: name.clone(), source })?;
        if trust_domain == *own {
            return Err(FederationError::OwnTrustDomain(trust_domain));
        }
        let endpoint = check_endpoint(&self.bundle_endpoint_url)?;
        let id = &self.bundle_endpoint_profile.endpoint_spiffe_id;
        let profile = match self.bundle_endpoint_profile.profile {
            ProfileType::HttpsSpiffe => {
                let refuse = |source| FederationError::EndpointId { id: id.clone(), source };
                EndpointProfile::Spiffe(SpiffeId::parse(id).map_err(refuse)?)
            }
            ProfileType::HttpsWeb if id.is_empty() => EndpointProfile::Web,
            ProfileType::HttpsWeb => return Err(FederationError::NeedlessEndpointId),
        };
        Ok(Relationship { trust_domain, endpoint, profile })
    }
}

fn check_endpoint(url: &str) -> Result<Uri, FederationError> {
    let uri: Uri = url.parse().map_err(|_| FederationError::Url(url.to_owned()))?;
    let Some(authority) = uri.authority() else {
        return Err(FederationError::Url(url.to_owned()));
    };
    // Before the others: their texts repeat the URL.
    if authority.as_str().contains('@') {
        return Err(FederationError::UserInfo);
    }
    if uri.scheme_str() != Some("https") {
        return Err(FederationError::Scheme(url.to_owned()));
    }
    if authority.host().is_empty() {
        return Err(FederationError::Url(url.to_owned()));
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(url: &str, profile: ProfileType, id: &str) -> ClusterFederatedTrustDomainSpec {
        ClusterFederatedTrustDomainSpec {
            trust_domain: "other.example".to_owned(),
            bundle_endpoint_url: url.to_owned(),
            bundle_endpoint_profile: BundleEndpointProfile {
                profile,
                endpoint_spiffe_id: id.to_owned(),
            },
            ..Default::default()
        }
    }

    fn check(spec: &ClusterFederatedTrustDomainSpec) -> Result<Relationship, FederationError> {
        spec.check(&TrustDomain::parse("example.org").unwrap())
    }

    #[test]
    fn both_profiles_make_a_relationship() {
        let web = check(&spec("https://other.example/bundle", ProfileType::HttpsWeb, "")).unwrap();
        assert_eq!(web.profile, EndpointProfile::Web);
        let id = "spiffe://other.example/server";
        let spiffe = check(&spec("https://10.0.0.1:8443", ProfileType::HttpsSpiffe, id)).unwrap();
        assert_eq!(spiffe.profile, EndpointProfile::Spiffe(SpiffeId::parse(id).unwrap()));
    }

    #[test]
    fn each_broken_rule_is_named() {
        let web = |url| check(&spec(url, ProfileType::HttpsWeb, "")).unwrap_err();
        assert!(matches!(web("http://other.example"), FederationError::Scheme(_)));
        assert_eq!(web("https://user:word@other.example"), FederationError::UserInfo);
        assert!(matches!(web("/bundle"), FederationError::Url(_)));
        assert!(matches!(web("https://"), FederationError::Url(_)));
        let url = "https://other.example";
        let with = |profile, id| check(&spec(url, profile, id)).unwrap_err();
        assert!(matches!(with(ProfileType::HttpsSpiffe, ""), FederationError::EndpointId { .. }));
        let id = "spiffe://other.example/server";
        assert_eq!(with(ProfileType::HttpsWeb, id), FederationError::NeedlessEndpointId);
        let mut own = spec(url, ProfileType::HttpsWeb, "");
        own.trust_domain = "example.org".to_owned();
        assert!(matches!(check(&own).unwrap_err(), FederationError::OwnTrustDomain(_)));
        own.trust_domain = "EXAMPLE".to_owned();
        assert!(matches!(check(&own).unwrap_err(), FederationError::TrustDomain { .. }));
    }
}
