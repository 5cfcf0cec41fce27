//! What is allowed and probably not meant: warnings that `kubectl` shows to the author. Pure.

use crate::controller::crd::ClusterSpiffeIdSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::BTreeMap;

/// Facts of which a pod has one value only.
const SINGLE: [&str; 4] = ["ns", "sa", "pod-name", "node-name"];
/// Every namespace has its own name under this label.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// What an author should know of a ClusterSPIFFEID that works.
pub(super) fn warnings(spec: &ClusterSpiffeIdSpec) -> Vec<String> {
    let mut warnings = Vec::new();
    let literals: Vec<(&str, &str)> =
        spec.workload_selector_templates.iter().filter_map(|text| literal(text)).collect();
    if selects_all(spec.namespace_selector.as_ref()) && selects_all(spec.pod_selector.as_ref()) {
        let only = literals.iter().find(|(kind, _)| matches!(*kind, "ns" | "sa"));
        warnings.push(match only {
            Some((kind, value)) => format!(
                "selects every pod of the cluster, while its workload selector k8s:{kind}:{value} is of a few: \
                 set namespaceSelector or podSelector, and fewer pods are looked at"
            ),
            None => "selects every pod of the cluster, also of namespaces made later: set namespaceSelector or \
                     podSelector if that is not meant"
                .to_owned(),
        });
    }
    warnings.extend(contradictions(spec, &literals));
    for (is_set, flag, power) in [
        (spec.admin, "admin", "administer the server"),
        (spec.downstream, "downstream", "sign as an authority of this trust domain"),
    ] {
        if is_set {
            warnings.push(format!("{flag} is set: every selected pod may {power}"));
        }
    }
    warnings
}

/// Literal workload selectors that no selected pod can have.
fn contradictions(spec: &ClusterSpiffeIdSpec, literals: &[(&str, &str)]) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for (kind, value) in literals.iter().filter(|(kind, _)| SINGLE.contains(kind)) {
        if let Some(other) = seen.insert(kind, value)
            && other != *value
        {
            warnings.push(format!(
                "no pod has both workload selectors k8s:{kind}:{other} and k8s:{kind}:{value}: nothing gets an identity"
            ));
        }
    }
    let namespace = wanted_label(spec.namespace_selector.as_ref(), NAME_LABEL);
    if let (Some(named), Some(selected)) = (seen.get("ns"), namespace)
        && *named != selected
    {
        warnings.push(format!(
            "workload selector k8s:ns:{named} contradicts namespaceSelector, which selects {selected}: nothing gets an identity"
        ));
    }
    for (_, label) in literals.iter().filter(|(kind, _)| *kind == "pod-label") {
        let Some((key, value)) = label.split_once(':') else { continue };
        if let Some(selected) = wanted_label(spec.pod_selector.as_ref(), key)
            && selected != value
        {
            warnings.push(format!(
                "workload selector k8s:pod-label:{label} contradicts podSelector, which wants {key}={selected}: \
                 nothing gets an identity"
            ));
        }
    }
    warnings
}

/// Fact and value of a `k8s:` selector without template in it.
fn literal(text: &str) -> Option<(&str, &str)> {
    let fact = text.strip_prefix("k8s:").filter(|_| !text.contains("{{"))?;
    fact.split_once(':')
}

fn selects_all(selector: Option<&LabelSelector>) -> bool {
    selector.is_none_or(|selector| {
        selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
            && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
    })
}

fn wanted_label<'s>(selector: Option<&'s LabelSelector>, key: &str) -> Option<&'s str> {
    selector?.match_labels.as_ref()?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn warned(extra: &Value) -> String {
        let mut spec = json!({"spiffeIDTemplate": "spiffe://d/x"});
        for (key, value) in extra.as_object().unwrap() {
            spec[key] = value.clone();
        }
        warnings(&serde_json::from_value(spec).unwrap()).join("\n")
    }

    #[test]
    fn one_that_selects_some_pods_by_what_they_have_is_fine() {
        let fine = json!({
            "podSelector": {"matchLabels": {"app": "web"}},
            "namespaceSelector": {"matchLabels": {NAME_LABEL: "prod"}},
            "workloadSelectorTemplates": ["k8s:ns:prod", "k8s:pod-label:app:web", "k8s:sa:{{ .X }}", "unix:uid:1"],
        });
        assert_eq!(warned(&fine), "");
    }

    #[test]
    fn one_that_selects_every_pod_is_warned_of() {
        assert!(warned(&json!({})).contains("selects every pod"));
        let guide = json!({"workloadSelectorTemplates": ["k8s:ns:istio-system", "k8s:sa:gateway"]});
        assert!(warned(&guide).contains("k8s:ns:istio-system is of a few"));
    }

    #[test]
    fn selectors_that_no_selected_pod_can_have_are_warned_of() {
        for (extra, expected) in [
            (json!({"workloadSelectorTemplates": ["k8s:ns:a", "k8s:ns:b"]}), "no pod has both"),
            (
                json!({
                    "namespaceSelector": {"matchLabels": {NAME_LABEL: "b"}},
                    "workloadSelectorTemplates": ["k8s:ns:a"],
                }),
                "contradicts namespaceSelector, which selects b",
            ),
            (
                json!({
                    "podSelector": {"matchLabels": {"app": "b"}},
                    "workloadSelectorTemplates": ["k8s:pod-label:app:a"],
                }),
                "contradicts podSelector, which wants app=b",
            ),
        ] {
            assert!(warned(&extra).contains(expected), "{extra}: {}", warned(&extra));
        }
    }

    #[test]
    fn powers_are_warned_of() {
        let text = warned(&json!({"admin": true, "downstream": true}));
        assert!(text.contains("administer the server") && text.contains("sign as an authority"));
    }
}
