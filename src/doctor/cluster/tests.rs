//! A cluster in which all is well, and what is said when one thing of it is not.

mod objects;

use super::{findings, look};
use crate::{
    doctor::{Finding, Level},
    k8s::{Access, KubeClient},
    testing::apiserver::{ApiServer, Mood},
};
use objects::*;
use serde_json::{Value, json};
use tempfile::TempDir;

struct Cluster {
    api: ApiServer,
    client: KubeClient,
    _directory: TempDir,
}

async fn well() -> Cluster {
    let (api, directory) = (ApiServer::start().await, TempDir::new().unwrap());
    for object in objects_of_spire().into_iter().chain(objects_of_the_cluster()) {
        api.put(object);
    }
    let client = KubeClient::new(Access::Kubeconfig(api.kubeconfig(directory.path())));
    Cluster { api, client, _directory: directory }
}

impl Cluster {
    async fn amiss(&self) -> Vec<Finding> {
        let mut findings = findings(&look(&self.client, "istio-system").await.unwrap());
        findings.retain(|finding| finding.level != Level::Well);
        findings
    }
}

#[tokio::test]
async fn a_cluster_in_which_all_is_well_is_told_so_thing_by_thing() {
    let cluster = well().await;
    let found = findings(&look(&cluster.client, "istio-system").await.unwrap());
    let said: Vec<&str> = found.iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(
        said,
        [
            "1 of 1 agents are ready",
            "the server spire-server in spire is ready",
            "the trust domain is example.org",
            "csi.spiffe.io is registered on 1 nodes",
            "the mesh's trust domain is example.org",
            "the injection template spire mounts csi.spiffe.io in initContainers, where this Istio \
             puts sidecars",
            "the injection template spire-gateway mounts csi.spiffe.io for gateways",
            "the webhook vclusterspiffeid.kb.io is served",
            "ClusterSPIFFEID web gives 3 pods 2 entries",
            "1 pods mount csi.spiffe.io and are selected by a ClusterSPIFFEID",
        ]
    );
    assert!(found.iter().all(|finding| finding.level == Level::Well), "{found:?}");
}

/// A path, what is other than well there, and what is said of it and to be done next.
type Row = (&'static str, fn(&mut Value), &'static str, &'static str);

fn set_text(map: &mut Value, key: &str, text: &str) {
    map["data"][key] = json!(text);
}

const OF_SPIRE: &[Row] = &[
    (
        AGENTS,
        |o| o["status"]["numberReady"] = json!(0),
        "0 of 1 agents",
        "describe daemonset spire-agent",
    ),
    (
        AGENTS,
        |o| o["status"] = json!({"desiredNumberScheduled": 0, "numberReady": 0}),
        "1 nodes take pods, and agents are meant for 0",
        "describe daemonset spire-agent -n spire",
    ),
    (SERVER, |o| o["status"] = json!({}), "is not ready: nothing is signed", "get pods -n spire"),
    (
        SERVER_CONF,
        |o| set_text(o, "server.conf", "server { trust_domain = \"$X\" }"),
        "cannot tell: configmaps spire-server in spire makes no sense",
        "kubectl get configmaps spire-server -n spire",
    ),
    (
        WEBHOOK,
        // A line feed.
        |o| o["webhooks"][0]["clientConfig"]["caBundle"] = json!("Cg=="),
        "vclusterspiffeid.kb.io has no caBundle",
        "validatingwebhookconfiguration spire-webhook",
    ),
    (
        SLICE,
        |o| o["endpoints"][0]["conditions"]["ready"] = json!(false),
        "nobody ready is behind the webhook vclusterspiffeid.kb.io",
        "describe service hook -n spire",
    ),
    (
        IDENTITY,
        |o| {
            let condition =
                json!({"type": "Ready", "status": "False", "reason": "Invalid", "message": "m"});
            o["status"]["conditions"] = json!([condition]);
        },
        "ClusterSPIFFEID web is not ready: Invalid: m",
        "describe clusterspiffeid web",
    ),
    (
        IDENTITY,
        |o| o["status"] = json!({"stats": {"podEntryRenderFailures": 2, "entryFailures": 1}}),
        "cannot be rendered for 2 pods and has 1 entries that the server refused",
        "describe clusterspiffeid web",
    ),
    (IDENTITY, |o| o["status"] = Value::Null, "has no status", "describe clusterspiffeid web"),
];

const OF_THE_CLUSTER: &[Row] = &[
    (
        CSI_NODE,
        |o| o["spec"]["drivers"] = json!([{"name": "other"}]),
        "csi.spiffe.io is not registered on one: pods",
        "--field-selector spec.nodeName=one",
    ),
    (
        MESH,
        |o| set_text(o, "mesh", "trustDomain: cluster.local\n"),
        "the mesh's trust domain is cluster.local, ours is example.org: proxies refuse",
        "edit configmap istio -n istio-system",
    ),
    (
        MESH,
        |o| set_text(o, "mesh", "trustDomain: a\ntrustDomainAliases: [example.org]\n"),
        "is a, ours is example.org, which the mesh has for an alias only",
        "edit configmap istio",
    ),
    (
        IDENTITY,
        |o| o["spec"]["federatesWith"] = json!(["partner.org"]),
        "identities federate with partner.org, which is not in",
        "edit configmap istio",
    ),
    (
        MESH,
        |o| set_text(o, "mesh", "trustDomain: ["),
        "makes no sense",
        "get configmaps istio -n istio-system",
    ),
    (
        AGENT_CONF,
        |o| {
            set_text(
                o,
                "agent.conf",
                "agent {\n trust_domain = \"example.org\"\n socket_path = \"/a/b\"\n}",
            )
        },
        "proxies open the socket socket, and the agent's are called b",
        "edit configmap istio",
    ),
    (
        INJECTOR,
        |o| set_text(o, "config", "templates: {sidecar: \"spec: {}\"}"),
        "no injection template for sidecars mounts csi.spiffe.io",
        "charts/istio/native-sidecar.yaml",
    ),
    (
        INJECTOR,
        |o| set_text(o, "config", "templates: {spire: \"driver: csi.spiffe.io\"}"),
        "but not at /run/secrets/workload-spiffe-uds",
        "get configmap istio-sidecar-injector -n istio-system",
    ),
    (
        INJECTOR,
        |o| {
            set_text(
                o,
                "config",
                &TEMPLATE
                    .replace("containers: []\n      volumes", "initContainers:\n      volumes"),
            )
        },
        "spire-gateway changes initContainers, and gateways have their proxy in containers",
        "charts/istio/native-sidecar.yaml",
    ),
    (
        INJECTOR,
        |o| {
            set_text(
                o,
                "config",
                &TEMPLATE.replace("[{name: workload-socket, csi", "[{name: other, csi"),
            )
        },
        "spire-gateway mounts csi.spiffe.io, but not at /run/secrets/workload-spiffe-uds",
        "get configmap istio-sidecar-injector -n istio-system",
    ),
    (
        POD,
        |o| o["metadata"]["labels"]["app"] = json!("wbe"),
        "no ClusterSPIFFEID selects web-0 in shop, which mount csi.spiffe.io and are not ready",
        "get pods -n shop --show-labels",
    ),
    (
        NAMESPACE,
        |o| o["metadata"]["labels"] = Value::Null,
        "no ClusterSPIFFEID selects web-0 in shop",
        "get pods -n shop --show-labels",
    ),
    (
        POD,
        |o| o["spec"]["volumes"] = Value::Null,
        "web-0 in shop have the label spiffe.io/spire-managed-identity, and their proxies do not mount",
        "grep inject.istio.io/templates",
    ),
    (
        ISTIOD,
        |o| {
            let variable = json!({"name": "ENABLE_NATIVE_SIDECARS", "value": "false"});
            o["spec"]["template"]["spec"]["containers"][0]["env"] = json!([variable]);
        },
        "spire does not change containers, where this Istio puts sidecars",
        "charts/istio/container-sidecar.yaml",
    ),
    (
        NODE,
        |o| o["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.32.9-eks-1"),
        "spire does not change containers",
        "charts/istio/container-sidecar.yaml",
    ),
];

#[tokio::test]
async fn each_thing_that_is_amiss_is_one_finding_with_the_command_that_leads_on() {
    let cluster = well().await;
    for (path, spoil, what, next) in [OF_SPIRE, OF_THE_CLUSTER].concat() {
        let was = cluster.api.object(path).unwrap();
        cluster.api.change(path, spoil);
        let amiss = cluster.amiss().await;
        assert_eq!(amiss.len(), 1, "{what}: {amiss:?}");
        assert!(amiss[0].what.contains(what), "{what}: {amiss:?}");
        assert!(amiss[0].next.as_ref().is_some_and(|command| command.contains(next)), "{amiss:?}");
        cluster.api.put(was);
    }
    assert_eq!(cluster.amiss().await, []);
}

#[tokio::test]
async fn pods_that_need_nothing_are_counted_and_no_problem() {
    let cluster = well().await;
    type Change = fn(&mut Value);
    let rows: [(Change, Option<&str>); 4] = [
        (
            |pod| {
                pod["metadata"]["labels"] = Value::Null;
                pod["status"]["conditions"][0]["status"] = json!("True");
            },
            Some("1 pods mount csi.spiffe.io, are selected by no ClusterSPIFFEID, and are ready"),
        ),
        (
            |pod| {
                pod["metadata"]["labels"] = Value::Null;
                pod["spec"]["volumes"] = Value::Null;
            },
            Some("1 pods with a proxy do not mount csi.spiffe.io: their identities are istiod's"),
        ),
        (
            |pod| {
                pod["metadata"]["labels"] = Value::Null;
                pod["status"]["phase"] = json!("Succeeded");
            },
            None,
        ),
        (
            |pod| {
                pod["metadata"]["labels"] = Value::Null;
                pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            },
            None,
        ),
    ];
    for (change, counted) in rows {
        let was = cluster.api.object(POD).unwrap();
        cluster.api.change(POD, change);
        let found = findings(&look(&cluster.client, "istio-system").await.unwrap());
        assert!(found.iter().all(|finding| finding.level == Level::Well), "{found:?}");
        let of_pods = found.iter().find(|finding| finding.what.starts_with("1 pods"));
        let said = of_pods.map(|finding| finding.what.as_str());
        assert_eq!(said.is_some(), counted.is_some(), "{found:?}");
        assert!(said.unwrap_or_default().starts_with(counted.unwrap_or_default()), "{found:?}");
        cluster.api.put(was);
    }
}

#[tokio::test]
async fn what_the_caller_may_not_read_is_told_with_the_right_to_ask_for_and_hides_nothing_else() {
    let cluster = well().await;
    cluster.api.change(SERVER, |server| server["status"] = json!({}));
    for (path, command) in [
        ("/api/v1/nodes", "kubectl auth can-i list nodes"),
        ("/api/v1/namespaces/istio-system", "kubectl auth can-i list configmaps -n istio-system"),
        ("/apis/apps/v1/daemonsets", "kubectl auth can-i list daemonsets.apps"),
        (SERVER_CONF, "kubectl auth can-i get configmaps/spire-server -n spire"),
        (
            "/apis/discovery.k8s.io/v1/namespaces/spire",
            "kubectl auth can-i list endpointslices.discovery.k8s.io -n spire",
        ),
        ("/apis/spire.spiffe.io", "kubectl auth can-i list clusterspiffeids.spire.spiffe.io"),
        ("/api/v1/pods", "kubectl auth can-i list pods"),
    ] {
        cluster.api.set_mood_below(path, Mood::Fails(403));
        let amiss = cluster.amiss().await;
        let level = |level| amiss.iter().filter(move |finding| finding.level == level);
        let unknown: Vec<_> = level(Level::Unknown).collect();
        assert_eq!(unknown.len(), 1, "{path}: {amiss:?}");
        assert!(unknown[0].what.starts_with("cannot tell: "), "{unknown:?}");
        assert_eq!(unknown[0].next.as_deref(), Some(command));
        assert_eq!(level(Level::Problem).count(), 1, "{path}: {amiss:?}");
        cluster.api.set_mood_below(path, Mood::Answers);
    }
}

#[tokio::test]
async fn an_empty_cluster_has_no_agents_and_no_driver() {
    let (api, directory) = (ApiServer::start().await, TempDir::new().unwrap());
    let client = KubeClient::new(Access::Kubeconfig(api.kubeconfig(directory.path())));
    let found = findings(&look(&client, "istio-system").await.unwrap());
    let problems: Vec<_> = found.iter().filter(|of| of.level == Level::Problem).collect();
    assert!(problems[0].what.starts_with("no DaemonSet has a container spire-agent"), "{found:?}");
    assert!(problems[1].what.starts_with("there is no CSIDriver csi.spiffe.io"), "{found:?}");
    assert_eq!(problems.len(), 2, "{found:?}");
}

#[tokio::test]
async fn an_api_server_that_does_not_know_the_caller_is_no_finding() {
    let cluster = well().await;
    cluster.api.set_mood(Mood::Fails(401));
    assert!(look(&cluster.client, "istio-system").await.is_err());
}
