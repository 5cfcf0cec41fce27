//! Entries for a pod: upstream's vectors, contradictions, annotations, and every reason why not.

use super::*;
use crate::controller::{
    crd::{ClusterSpiffeId, ClusterStaticEntrySpec},
    rule::Rule,
    settings::{AnnotationRule, Settings},
    template::{Data, Template},
    world::{Container, Labels, Node, Phase, Pod, PodSpec},
};
use crate::spiffe::{EntrySpec, Selector, dns::DnsName};
use serde_json::{Value, json};
use std::sync::Arc;

fn node() -> Node {
    Node {
        uid: "uid".into(),
        name: "node-1".into(),
        labels: Labels::default(),
        annotations: Labels::default(),
        pod_cidr: "".into(),
        pod_cidrs: Vec::new(),
        provider_id: "".into(),
        unschedulable: false,
    }
}

fn pod() -> Pod {
    Pod {
        uid: "u-1".into(),
        namespace: "namespace".into(),
        name: "test".into(),
        generate_name: "".into(),
        node: Some("node-1".into()),
        phase: Phase::Live,
        labels: Labels::from_iter([("app", "web")]),
        annotations: Labels::default(),
        owners: Arc::new([]),
        hostname: "".into(),
        spec: Arc::new(PodSpec {
            service_account_name: "test".into(),
            containers: vec![Container { name: "main".into(), ..Container::default() }],
            ..PodSpec::default()
        }),
    }
}

fn rule(spec: Value) -> Rule {
    let mut spec = spec;
    let template = "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}";
    spec.as_object_mut().unwrap().entry("spiffeIDTemplate").or_insert_with(|| template.into());
    let object: ClusterSpiffeId = serde_json::from_value(json!({
        "apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterSPIFFEID",
        "metadata": {"name": "r"}, "spec": spec,
    }))
    .unwrap();
    Rule::compile(&object).unwrap()
}

fn render_with(settings: &Settings, spec: Value, pod: &Pod) -> Result<Rendered, Failure> {
    let parent = parent(settings, &node())?;
    let subject = Subject {
        settings,
        pod,
        parent: &parent,
        data: Data::of_pod(settings, &node(), pod),
        services: vec!["endpoint".into(), "other-endpoint".into()],
    };
    entry(&rule(spec), &subject)
}

fn render(spec: Value) -> Result<Rendered, Failure> {
    render_with(&Settings::of_test("example.org"), spec, &pod())
}

fn spec_of(rendered: Result<Rendered, Failure>) -> EntrySpec {
    match rendered.unwrap() {
        Rendered::Entry(spec) => spec,
        Rendered::Contradicted(selector) => panic!("contradicted by {selector}"),
    }
}

#[test]
fn upstreams_pod_entry_comes_out() {
    let spec = spec_of(render(json!({
        "dnsNameTemplates": [
            "{{ .PodSpec.ServiceAccountName }}.{{ .PodMeta.Namespace }}.svc.{{ .ClusterDomain }}",
            "{{ .PodMeta.Name }}.{{ .PodMeta.Namespace }}.svc.{{ .ClusterDomain }}",
            "{{ .PodMeta.Name }}.{{ .TrustDomain }}.svc",
        ],
        "autoPopulateDNSNames": true,
        "ttl": "1m30s", "jwtTtl": "1m", "hint": "h", "admin": true, "downstream": true,
        "federatesWith": ["b.example", "spiffe://a.example", "b.example"],
        "workloadSelectorTemplates": ["k8s:ns:{{ .PodMeta.Namespace }}", "unix:uid:1000"],
    })));
    assert_eq!(spec.spiffe_id.as_str(), "spiffe://example.org/ns/namespace/sa/test");
    assert_eq!(spec.parent_id.as_str(), "spiffe://example.org/spire/agent/k8s_psat/test/uid");
    let names: Vec<_> = spec.dns_names.iter().map(DnsName::as_str).collect();
    assert_eq!(
        names,
        [
            "test.namespace.svc.cluster.local",
            "test.example.org.svc",
            "endpoint",
            "endpoint.namespace",
            "endpoint.namespace.svc",
            "endpoint.namespace.svc.cluster.local",
            "other-endpoint",
            "other-endpoint.namespace",
            "other-endpoint.namespace.svc",
            "other-endpoint.namespace.svc.cluster.local",
        ]
    );
    let selectors: Vec<_> = spec.selectors.as_slice().iter().map(Selector::as_str).collect();
    assert_eq!(selectors, ["k8s:ns:namespace", "k8s:pod-uid:u-1", "unix:uid:1000"]);
    assert_eq!((spec.x509_svid_ttl_secs, spec.jwt_svid_ttl_secs), (90, 60));
    assert!(spec.admin && spec.downstream);
    assert_eq!(spec.hint.as_str(), "h");
    let federated: Vec<_> = spec.federates_with.iter().map(|domain| domain.name()).collect();
    assert_eq!(federated, ["a.example", "b.example"]);
}

#[test]
fn the_parent_has_a_template_of_its_own() {
    let mut settings = Settings::of_test("example.org");
    let set = |settings: &mut Settings, source| {
        let template = Template::compile(source, crate::controller::template::Subject::Node);
        settings.parent_id_template = Arc::new(template.unwrap());
    };
    set(&mut settings, "spiffe://{{ .TrustDomain }}/spire/agent/x509pop/{{ .NodeMeta.Name }}");
    let id = parent(&settings, &node()).unwrap();
    assert_eq!(id.as_str(), "spiffe://example.org/spire/agent/x509pop/node-1");
    set(&mut settings, "spiffe://{{ .TrustDomain }}");
    assert!(matches!(parent(&settings, &node()), Err(Failure::NoPath { .. })));
}

#[test]
fn each_reason_why_not_is_told() {
    let failing = |field: &str, value: Value| render(json!({field: value})).unwrap_err();
    let id = |text: &str| failing("spiffeIDTemplate", text.into());
    assert!(matches!(id("spiffe://{{ .PodMeta.Labels.none }}/x"), Failure::Template { .. }));
    assert!(matches!(id("spiffe://{{ .TrustDomain }}/a//b"), Failure::NoSpiffeId { .. }));
    assert!(matches!(id("spiffe://{{ .TrustDomain }}/a/../b"), Failure::NoSpiffeId { .. }));
    assert!(matches!(id("spiffe://{{ .TrustDomain }}/ä"), Failure::NoSpiffeId { .. }));
    let long = format!("spiffe://{{{{ .TrustDomain }}}}/{}", "x".repeat(2049));
    assert!(matches!(id(&long), Failure::NoSpiffeId { .. }));
    assert!(matches!(id("spiffe://other.org/x"), Failure::Foreign { .. }));
    assert!(matches!(id("spiffe://{{ .TrustDomain }}"), Failure::NoPath { .. }));
    assert!(matches!(id("spiffe://{{ .TrustDomain }}/spire/agent/x"), Failure::Reserved(_)));
    let selector = failing("workloadSelectorTemplates", json!(["no-colon"]));
    assert!(matches!(selector, Failure::Selector { .. }));
    let name = failing("dnsNameTemplates", json!([r#"{{ index .PodMeta.Labels "none" }}"#]));
    assert!(matches!(name, Failure::DnsName { .. }));
    assert_eq!(name.to_string(), r#"DNS name "": empty or only whitespace"#);
}

#[test]
fn selectors_that_the_pod_can_never_have_leave_it_out() {
    for (selector, is_contradicted) in [
        ("k8s:ns:namespace", false),
        ("k8s:ns:istio-system", true),
        ("k8s:sa:test", false),
        ("k8s:sa:istio-ingressgateway-service-account", true),
        ("k8s:pod-name:test", false),
        ("k8s:pod-name:other", true),
        ("k8s:pod-uid:u-1", false),
        ("k8s:pod-uid:u-2", true),
        ("k8s:node-name:node-1", false),
        ("k8s:node-name:node-2", true),
        ("k8s:pod-label:app:web", false),
        ("k8s:pod-label:app:db", true),
        ("k8s:pod-label:tier:web", true),
        ("k8s:container-name:main", false),
        ("k8s:container-name:side", true),
        // Only the runtime knows under which name an image runs.
        ("k8s:container-image:nginx", false),
        ("unix:uid:0", false),
    ] {
        let rendered = render(json!({"workloadSelectorTemplates": [selector]})).unwrap();
        assert_eq!(matches!(rendered, Rendered::Contradicted(_)), is_contradicted, "{selector}");
    }
}

#[test]
fn annotations_decide_only_what_the_configuration_allows() {
    let mut pod = pod();
    pod.annotations = Labels::from_iter([
        ("spiffe.io/spiffe-id", "/pay/ments"),
        ("spiffe.io/federatesWith", "a.example, spiffe://b.example ,"),
    ]);
    let mut settings = Settings::of_test("example.org");
    let spec = spec_of(render_with(&settings, json!({}), &pod));
    assert_eq!(spec.spiffe_id.path(), "/ns/namespace/sa/test");
    assert!(spec.federates_with.is_empty());
    let domains =
        ["a.example", "b.example"].map(|name| crate::spiffe::TrustDomain::parse(name).unwrap());
    settings.annotations = AnnotationRule { spiffe_id: true, federates_with: domains.to_vec() };
    let spec = spec_of(render_with(&settings, json!({}), &pod));
    assert_eq!(spec.spiffe_id.as_str(), "spiffe://example.org/pay/ments");
    assert_eq!(spec.federates_with, domains);
    settings.annotations.federates_with.pop();
    let refused = render_with(&settings, json!({}), &pod).unwrap_err();
    assert!(matches!(refused, Failure::NotAllowed { .. }));
    for named in ["spiffe://other.org/x", "/spire/server", "a//b"] {
        pod.annotations = Labels::from_iter([("spiffe.io/spiffe-id", named)]);
        assert!(render_with(&settings, json!({}), &pod).is_err(), "{named}");
    }
}

#[test]
fn static_entries_are_checked_field_by_field() {
    let settings = Settings::of_test("example.org");
    let base = json!({
        "spiffeID": "spiffe://example.org/x", "parentID": "spiffe://example.org/p",
        "selectors": ["unix:uid:1"], "x509SVIDTTL": "1h", "dnsNames": ["a", "b", "a"], "storeSVID": true,
    });
    let with = |field: &str, value: Value| {
        let mut spec = base.clone();
        spec[field] = value;
        let spec: ClusterStaticEntrySpec = serde_json::from_value(spec).unwrap();
        static_entry(&settings, &spec)
    };
    let spec = with("hint", "h".into()).unwrap();
    assert_eq!((spec.x509_svid_ttl_secs, spec.dns_names.len(), spec.store_svid), (3600, 2, true));
    for (field, value) in [
        ("spiffeID", json!("spiffe://other.org/x")),
        ("spiffeID", json!("spiffe://example.org/spire/server")),
        ("parentID", json!("spiffe://example.org")),
        ("parentID", json!("x")),
        ("selectors", json!([])),
        ("selectors", json!(["a"])),
        ("selectors", json!(["a:1", "b:1"])),
        ("federatesWith", json!(["A"])),
        ("x509SVIDTTL", json!("1ns")),
        ("jwtSVIDTTL", json!("600000h")),
        ("dnsNames", json!(["a b"])),
        ("hint", json!("x".repeat(1025))),
    ] {
        assert!(with(field, value.clone()).is_err(), "{field} {value}");
    }
}
