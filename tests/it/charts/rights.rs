//! What each service account may do, complete. That it does all of that is shown in a real cluster, by
//! `tests/e2e/rights.rs`.

use super::helm::{Installation, Rendered, list, name};
use serde_json::Value;
use std::collections::BTreeSet;

/// Every right of an account as `namespace resource verb`, `*` for the whole cluster and `=name` for one object.
fn rights(rendered: &Rendered, account: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for kind in ["Role", "ClusterRole"] {
        for binding in rendered.all(&format!("{kind}Binding")) {
            if !list(&binding["subjects"]).any(|subject| subject["name"] == account) {
                continue;
            }
            let is_bound = |role: &&Value| {
                name(role) == binding["roleRef"]["name"]
                    && role["metadata"]["namespace"] == binding["metadata"]["namespace"]
            };
            let role = rendered.all(kind).find(is_bound).expect("a role of the chart");
            let scope = role["metadata"]["namespace"].as_str().unwrap_or("*");
            list(&role["rules"]).for_each(|rule| spell(rule, scope, &mut found));
        }
    }
    found
}

fn spell(rule: &Value, scope: &str, found: &mut BTreeSet<String>) {
    let texts = |key: &str| {
        list(&rule[key]).map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let names = texts("resourceNames");
    let only = if names.is_empty() { String::new() } else { format!("={}", names.join(",")) };
    for group in texts("apiGroups") {
        for resource in texts("resources") {
            let dot = if group.is_empty() { "" } else { "." };
            let verbs = texts("verbs").join(",");
            found.insert(format!("{scope} {resource}{dot}{group}{only} {verbs}"));
        }
    }
}

fn table(rendered: &Rendered, account: &str) -> Vec<String> {
    rights(rendered, account).into_iter().collect()
}

/// What attesting nodes and publishing the bundle takes.
const SERVER: [&str; 4] = [
    "* nodes get",
    "* pods get",
    "* tokenreviews.authentication.k8s.io create",
    "spire-server configmaps=spire-bundle get,patch",
];

/// What the controller needs beside.
const CONTROLLER: [&str; 11] = [
    "* clusterfederatedtrustdomains.spire.spiffe.io get,list,watch",
    "* clusterfederatedtrustdomains/status.spire.spiffe.io patch",
    "* clusterspiffeids.spire.spiffe.io get,list,watch",
    "* clusterspiffeids/status.spire.spiffe.io patch",
    "* clusterstaticentries.spire.spiffe.io get,list,watch",
    "* clusterstaticentries/status.spire.spiffe.io patch",
    "* endpointslices.discovery.k8s.io list,watch",
    "* namespaces list,watch",
    "* nodes list,watch",
    "* pods list,watch",
    "default events create",
];

const WEBHOOK: &str = "* validatingwebhookconfigurations.admissionregistration.k8s.io\
                       =spire-server-spire-controller-manager-webhook get,patch";

#[test]
fn an_agent_may_read_the_pods_of_kubelets() {
    assert_eq!(table(&Installation::USUAL.render(), "spire-agent"), ["* nodes/pods get"]);
}

#[test]
fn an_agent_gets_more_only_where_the_operator_says_so() {
    let rendered = Installation::with(&["spire-agent.kubeletAuthorization=nodesProxy"]).render();
    assert_eq!(table(&rendered, "spire-agent"), ["* nodes/proxy get"]);
}

#[test]
fn the_driver_may_do_nothing() {
    let rendered = Installation::USUAL.render();
    assert!(table(&rendered, "spire-spiffe-csi-driver").is_empty());
    let (_, pod) = rendered.pods().find(|(name, _)| name.ends_with("csi-driver")).unwrap();
    assert_eq!(pod["automountServiceAccountToken"], false);
}

#[test]
fn server_and_controller_may_do_what_is_listed_here() {
    let mut expected = [&SERVER[..], &CONTROLLER, &[WEBHOOK]].concat();
    expected.sort_unstable();
    assert_eq!(table(&Installation::USUAL.render(), "spire-server"), expected);
}

#[test]
fn a_server_without_a_controller_reads_pods_one_by_one() {
    let settings = &["spire-server.controllerManager.enabled=false"];
    assert_eq!(table(&Installation::with(settings).render(), "spire-server"), SERVER);
}

#[test]
fn keys_in_a_secret_and_elections_cost_the_rights_to_those_objects_alone() {
    let usual = rights(&Installation::USUAL.render(), "spire-server");
    let settings = &[
        "spire-server.keyManager.kubernetesSecret.enabled=true",
        "spire-server.controllerManager.leaderElection.enabled=true",
    ];
    let with = rights(&Installation::with(settings).render(), "spire-server");
    let more: Vec<_> = with.difference(&usual).cloned().collect();
    let expected = [
        "spire-server leases.coordination.k8s.io create",
        "spire-server leases.coordination.k8s.io=6f304bd2.spiffe.io get,update",
        "spire-server secrets=spire-server-keys get,update",
    ];
    assert_eq!(more, expected);
    assert!(usual.is_subset(&with));
}
