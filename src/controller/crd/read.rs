//! Turns an object of the API server into a custom resource, or says what is wrong with it.
//!
//! Typed watches lose an object that does not parse, and what is lost looks deleted. So kinds of this group
//! are watched untyped and read here, one by one.

use kube::api::DynamicObject;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

/// Why an object is none of the kind that it says it is.
#[derive(Debug, thiserror::Error)]
#[error("the object does not have the fields of its kind: {0}")]
pub struct CrdError(#[from] serde_json::Error);

/// Reads a custom resource.
///
/// # Errors
/// When a field is missing or holds what it cannot hold.
pub fn read<K: DeserializeOwned>(object: DynamicObject) -> Result<K, CrdError> {
    let mut fields = object.data;
    if let Some(fields) = fields.as_object_mut() {
        fields.insert("metadata".to_owned(), serde_json::to_value(&object.metadata)?);
        if let Some(types) = object.types {
            fields.insert("apiVersion".to_owned(), types.api_version.into());
            fields.insert("kind".to_owned(), types.kind.into());
        }
        // Only ever written, and an old writer's form of it must not hide the spec.
        fields.remove("status");
    }
    Ok(serde_json::from_value(fields)?)
}

/// What is null is nothing, as it is to Go.
pub(super) fn nothing_if_null<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::{ClusterSpiffeId, ClusterStaticEntry, GoDuration};
    use super::*;
    use kube::CustomResourceExt;
    use serde_json::{Value, json};
    use std::time::Duration;

    fn object(kind: &str, spec: &Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "spire.spiffe.io/v1alpha1",
            "kind": kind,
            "metadata": {"name": "web", "uid": "u1", "generation": 3},
            "spec": spec,
            "status": {"stats": "of an old writer"},
        }))
        .unwrap()
    }

    #[test]
    fn upstreams_field_names_are_read_and_unknown_ones_tolerated() {
        let spec = json!({
            "spiffeIDTemplate": "spiffe://{{ .TrustDomain }}/x",
            "ttl": "1h30m", "jwtTtl": "5m",
            "dnsNameTemplates": ["a"], "workloadSelectorTemplates": ["k8s:ns:x"],
            "federatesWith": null, "autoPopulateDNSNames": true, "className": "c",
            "namespaceSelector": {"matchLabels": {"a": "b"}},
            "podSelector": {"matchExpressions": [{"key": "k", "operator": "Exists"}]},
            "fallback": true, "hint": "h", "admin": true, "downstream": true,
            "ofTheFuture": {"a": 1},
        });
        let read: ClusterSpiffeId = read(object("ClusterSPIFFEID", &spec)).unwrap();
        assert_eq!(read.metadata.generation, Some(3));
        let spec = read.spec;
        assert_eq!(spec.ttl, Some(GoDuration(Duration::from_secs(5400))));
        assert_eq!(spec.jwt_ttl, Some(GoDuration(Duration::from_secs(300))));
        assert!(spec.auto_populate_dns_names && spec.fallback && spec.admin && spec.downstream);
        assert_eq!((spec.class_name.as_str(), spec.hint.as_str()), ("c", "h"));
        assert!(spec.federates_with.is_empty());
    }

    #[test]
    fn static_entries_have_names_of_their_own() {
        let spec = json!({
            "spiffeID": "spiffe://d/x", "parentID": "spiffe://d/p", "selectors": ["a:1"],
            "x509SVIDTTL": "1m", "jwtSVIDTTL": "0s", "dnsNames": ["n"], "storeSVID": true,
        });
        let read: ClusterStaticEntry = read(object("ClusterStaticEntry", &spec)).unwrap();
        assert_eq!(read.spec.x509_svid_ttl, Some(GoDuration(Duration::from_secs(60))));
        assert_eq!(read.spec.jwt_svid_ttl, Some(GoDuration(Duration::ZERO)));
        assert!(read.spec.store_svid);
    }

    #[test]
    fn what_cannot_be_read_says_which_field() {
        for (spec, text) in [
            (json!({}), "spiffeIDTemplate"),
            (json!({"spiffeIDTemplate": 3}), "expected a string"),
            (json!({"spiffeIDTemplate": "x", "ttl": "-1s"}), "\"-1s\""),
            (json!({"spiffeIDTemplate": "x", "ttl": "1d"}), "expected a duration"),
            (json!({"spiffeIDTemplate": "x", "dnsNameTemplates": "a"}), "expected a sequence"),
        ] {
            let refused = read::<ClusterSpiffeId>(object("ClusterSPIFFEID", &spec)).unwrap_err();
            assert!(refused.to_string().contains(text), "{refused}");
        }
    }

    #[test]
    fn kinds_and_plurals_are_upstreams() {
        let resource = ClusterSpiffeId::api_resource();
        assert_eq!(
            (resource.kind.as_str(), resource.plural.as_str(), resource.api_version.as_str()),
            ("ClusterSPIFFEID", "clusterspiffeids", "spire.spiffe.io/v1alpha1")
        );
        assert_eq!(ClusterStaticEntry::api_resource().plural, "clusterstaticentries");
        assert_eq!(
            super::super::ClusterFederatedTrustDomain::api_resource().plural,
            "clusterfederatedtrustdomains"
        );
    }
}
