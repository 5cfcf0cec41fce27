//! The custom resources as users of spire-controller-manager have them.

use super::helm::{Installation, charts, list, name, parsed};
use serde_json::Value;
use std::{collections::BTreeMap, fs};

fn definitions() -> BTreeMap<String, Value> {
    let folder = charts().join("spire-crds/templates");
    let files = fs::read_dir(folder).unwrap().map(|file| fs::read_to_string(file.unwrap().path()));
    let definitions = files.map(|text| parsed(&text.unwrap()).remove(0));
    definitions
        .map(|found| (found["spec"]["names"]["kind"].as_str().unwrap().to_owned(), found))
        .collect()
}

fn schema(definition: &Value) -> &Value {
    &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
}

fn fields(schema: &Value) -> String {
    let mut names: Vec<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
    names.sort();
    names.join(" ")
}

/// The fields of v1alpha1, from spire-controller-manager's Go types.
#[test]
fn the_fields_are_upstreams() {
    for (kind, spec, status, required) in [
        (
            "ClusterSPIFFEID",
            "admin autoPopulateDNSNames className dnsNameTemplates downstream fallback federatesWith hint \
             jwtTtl namespaceSelector podSelector spiffeIDTemplate ttl workloadSelectorTemplates",
            "conditions stats",
            serde_json::json!(["spiffeIDTemplate"]),
        ),
        (
            "ClusterStaticEntry",
            "admin className dnsNames downstream federatesWith hint jwtSVIDTTL parentID selectors spiffeID \
             storeSVID x509SVIDTTL",
            "conditions masked rendered set",
            serde_json::json!(["spiffeID", "parentID", "selectors"]),
        ),
        (
            "ClusterFederatedTrustDomain",
            "bundleEndpointProfile bundleEndpointURL className trustDomain trustDomainBundle",
            "conditions",
            serde_json::json!(["trustDomain", "bundleEndpointURL", "bundleEndpointProfile"]),
        ),
    ] {
        let definition = &definitions()[kind];
        let schema = schema(definition);
        assert_eq!(fields(&schema["spec"]), spec, "{kind}");
        assert_eq!(fields(&schema["status"]), status, "{kind}");
        assert_eq!(schema["spec"]["required"], required, "{kind}");
        assert!(definition["spec"]["versions"][0]["subresources"]["status"].is_object());
        assert_eq!(definition["spec"]["scope"], "Cluster");
        assert_eq!(definition["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    }
}

/// The guide shows NAME and AGE; what is more is for `-o wide`.
#[test]
fn a_list_of_identities_looks_as_in_the_guide() {
    let definitions = definitions();
    let columns = |kind: &str| {
        let columns = &definitions[kind]["spec"]["versions"][0]["additionalPrinterColumns"];
        let shown = list(columns).filter(|column| column["priority"].is_null());
        shown.map(|column| column["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(columns("ClusterSPIFFEID"), ["Age"]);
    assert_eq!(columns("ClusterFederatedTrustDomain"), ["Trust Domain", "Endpoint URL", "Age"]);
}

/// The text form that `kubectl apply` takes is the one that helm installs.
#[test]
fn the_definitions_apply_without_helm() {
    for file in fs::read_dir(charts().join("spire-crds/templates")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains("{{"), "{text}");
    }
}

#[test]
fn identities_from_values_bear_class_and_release() {
    let rendered = Installation { values: "federation", ..Installation::USUAL }.render();
    let mut names: Vec<_> = rendered.all("ClusterSPIFFEID").map(name).collect();
    names.sort_unstable();
    let expected = [
        "spire-server-spire-default",
        "spire-server-spire-gateway",
        "spire-server-spire-test-identity",
    ];
    assert_eq!(names, expected);
    for identity in rendered.all("ClusterSPIFFEID") {
        assert_eq!(identity["spec"]["className"], "spire-server-spire");
        assert_eq!(
            identity["metadata"]["labels"]["spire.spiffe.io/class-name"],
            "spire-server-spire"
        );
    }
    let gateway = rendered.all("ClusterSPIFFEID").find(|object| name(object).ends_with("gateway"));
    assert_eq!(gateway.unwrap()["spec"]["jwtTtl"], "5m");
}
