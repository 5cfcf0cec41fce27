//! What cannot be served as asked for stops the installation with a sentence.

use super::helm::{Installation, charts, list, parsed};
use serde_json::Value;
use std::fs;

/// Settings, and what is said of them.
const REFUSED: &[(&[&str], &str)] = &[
    (
        &["spire-server.upstreamAuthority.certManager.enabled=true"],
        "spire-server.upstreamAuthority.certManager.enabled is true: finial signs with a root of its own",
    ),
    (
        &["spire-server.dataStore.sql.databaseType=postgres"],
        "spire-server.dataStore.sql.databaseType is \"postgres\": records are kept in SQLite",
    ),
    (
        &["spire-server.jwtSVIDSupport=false"],
        "spire-server.jwtSVIDSupport is false: whether JWT-SVIDs are signed cannot be set yet",
    ),
    (
        &["spire-server.customPlugins.nodeAttestor.mine.plugin_cmd=/x"],
        "spire-server.customPlugins.nodeAttestor is given: external plugins are not supported",
    ),
    (
        &["spire-server.replicaCount=2"],
        "spire-server.replicaCount is 2: servers with SQLite cannot share",
    ),
    (
        &["spire-server.nodeAttestor.k8sPSAT.enabled=false"],
        "spire-server.nodeAttestor has nothing enabled: no agent could join",
    ),
    (
        &["spire-server.controllerManager.filterByClassName=true"],
        "filterByClassName and watchClassless are both true",
    ),
    (
        &[
            "spire-server.federation.enabled=true",
            "spire-server.federation.tls.spire.enabled=false",
        ],
        "spire-server.federation.tls.spire.enabled is false",
    ),
    (&["spire-agent.hostNetwork=false"], "set the mode to hostip"),
    (
        &["spire-agent.workloadAttestors.k8s.enabled=false"],
        "spire-agent.workloadAttestors has nothing enabled",
    ),
    (
        &["spiffe-csi-driver.agentSocketPath=/run/other/socket"],
        "pods would get a directory without a socket",
    ),
    (
        &["spire-agent.clusterName=other"],
        "the server would refuse every agent; use global.spire.clusterName",
    ),
    (
        &["spire-server.trustDomain=other"],
        "the server would refuse every agent; use global.spire.trustDomain",
    ),
    (
        &["spire-server.persistence.type=hostPath"],
        "spire-server.persistence.hostPath is empty: name the directory on the host",
    ),
    (
        &["spire-server.controllerManager.identities.clusterSPIFFEIDs.default.podSelectors.a=b"],
        "identities.clusterSPIFFEIDs.default.podSelectors is not a property; expected one of admin, ",
    ),
    (
        &["spire-server.controllerManager.identities.clusterSPIFFEIDs.x.type=child-servers"],
        "type is \"child-servers\": this chart has only \"base\" and \"raw\"",
    ),
    (
        &["global.spire.strictMode=true", "global.spire.trustDomain=example.org"],
        "global.spire.trustDomain is \"example.org\", the value of examples",
    ),
    // The schema.
    (
        &["global.spire.trustDomain=Foo"],
        "'/global/spire/trustDomain': 'Foo' does not match pattern",
    ),
    (
        &["global.spire.clusterName=a/b"],
        "'/global/spire/clusterName': 'a/b' does not match pattern",
    ),
    (&["spire-server.caTTL=30d"], "'/spire-server/caTTL': '30d' does not match pattern"),
    (&["spire-server.caKeyType=ed25519"], "'/spire-server/caKeyType': value must be one of"),
    (&["spire-agent.enabled=yes"], "'/spire-agent/enabled': got string, want boolean"),
];

#[test]
fn what_cannot_be_served_is_refused_in_words() {
    for (set, expected) in REFUSED {
        let refusal = Installation::with(set).refusal();
        assert!(refusal.contains(expected), "{set:?} said {refusal}");
    }
}

#[test]
fn everything_wrong_is_told_at_once() {
    let refusal = Installation::with(&[
        "spire-server.keyManager.awsKMS.enabled=true",
        "spire-agent.trustBundleURL=https://x",
        "spire-server.replicaCount=3",
    ])
    .refusal();
    for part in ["awsKMS", "trustBundleURL", "replicaCount"] {
        assert!(refusal.contains(part), "{refusal}");
    }
}

/// A value that asks for something, at a path of the list of refusals.
fn wanted(path: &str, refusal: &Value) -> String {
    let path = path.replace('*', "mine");
    match list(&refusal["only"]).next() {
        Some(only) => format!("{path}={}", only.to_string().trim_matches('"')),
        None if path.ends_with(".enabled") || path.ends_with("PQKEM") => format!("{path}=true"),
        None => format!("{path}=something"),
    }
}

#[test]
fn each_line_of_the_list_of_refusals_refuses() {
    let text = fs::read_to_string(charts().join("spire/files/refused.yaml")).unwrap();
    let refusals = parsed(&text);
    let mut settings = Vec::new();
    for refusal in list(&refusals[0]) {
        settings.push(wanted(refusal["path"].as_str().unwrap(), refusal));
    }
    let settings: Vec<&'static str> = settings.into_iter().map(|text| &*text.leak()).collect();
    let refusal = Installation::with(settings.clone().leak()).refusal();
    for setting in &settings {
        let path = setting.split('=').next().unwrap();
        assert!(refusal.contains(&format!("{path} is ")), "{setting} is not refused: {refusal}");
    }
    assert!(settings.len() > 40);
}

#[test]
fn what_asks_for_nothing_is_not_refused() {
    Installation::with(&[
        "spire-server.upstreamAuthority.disk.enabled=false",
        "spire-server.adminIDs={}",
        "spire-server.dataStore.sql.databaseType=sqlite3",
        "spire-server.kind=statefulset",
        "spire-server.jwtSVIDSupport=true",
        "spire-agent.trustBundleURL=",
        "upstream.enabled=false",
    ])
    .render();
}

#[test]
fn an_old_kubernetes_needs_the_word_of_the_operator() {
    let old = Installation { kubernetes: "1.32.0", ..Installation::USUAL };
    let refusal = old.refusal();
    assert!(refusal.contains("Kubernetes v1.32.0 has no right to nodes/pods"), "{refusal}");
    assert!(refusal.contains("set spire-agent.kubeletAuthorization to nodesProxy"), "{refusal}");
    let set = &["spire-agent.kubeletAuthorization=nodesProxy"];
    Installation { set, ..old }.render();
}

#[test]
fn a_release_that_no_service_can_be_named_after_is_refused() {
    for release in ["1st", "my.spire"] {
        let refusal = Installation { release, ..Installation::USUAL }.refusal();
        assert!(refusal.contains("cannot begin the name of a Service"), "{refusal}");
    }
}
