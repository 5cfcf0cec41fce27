//! A name is used where it is borne: computed once, whatever the release is called.

use super::helm::{INSTALLATIONS, Installation, Rendered, list, name, place};
use serde_json::Value;
use std::collections::HashSet;

/// Releases whose names contain the names of components, begin like each other, or are as long as can be.
const RELEASES: [&str; 7] = [
    "spire",
    "spire-server",
    "server",
    "agent",
    "agent-server",
    "the-identities-of-everything-that-runs-in-my-basement",
    "the-identities-of-everything-that-runs-in-my-basemens",
];

fn each_release(check: impl Fn(&str, &Rendered)) {
    for release in RELEASES {
        for values in ["guide", "recommended"] {
            check(release, &Installation { release, values, ..Installation::USUAL }.render());
        }
    }
}

fn agent_conf(rendered: &Rendered) -> Value {
    serde_json::from_str(rendered.file("agent.conf").unwrap()).unwrap()
}

#[test]
fn agents_call_the_service_that_there_is() {
    each_release(|release, rendered| {
        let services =
            rendered.all("Service").filter(|service| service["spec"]["ports"][0]["name"] == "grpc");
        let [service] = services.collect::<Vec<_>>().try_into().unwrap();
        let (namespace, name) = place(service);
        let agent = &agent_conf(rendered)["agent"];
        assert_eq!(agent["server_address"], format!("{name}.{namespace}"), "{release}");
        assert_eq!(agent["server_port"], service["spec"]["ports"][0]["port"], "{release}");
        let server = rendered.all("StatefulSet").next().unwrap();
        assert_eq!(service["spec"]["selector"], server["spec"]["selector"]["matchLabels"]);
        assert_eq!(place(server).0, namespace, "{release}");
    });
}

#[test]
fn the_server_admits_the_account_that_agents_have() {
    each_release(|release, rendered| {
        let server: Value = serde_json::from_str(rendered.file("server.conf").unwrap()).unwrap();
        let clusters =
            &server["plugins"]["NodeAttestor"][0]["k8s_psat"]["plugin_data"]["clusters"][0];
        let agent = agent_conf(rendered);
        let cluster = &agent["plugins"]["NodeAttestor"][0]["k8s_psat"]["plugin_data"]["cluster"];
        let allowed = &clusters[cluster.as_str().unwrap()]["service_account_allow_list"];
        let pods = rendered.of("DaemonSet", "agent");
        let account = &pods["spec"]["template"]["spec"]["serviceAccountName"];
        let expected = format!("{}:{}", place(pods).0, account.as_str().unwrap());
        assert_eq!(allowed, &serde_json::json!([expected]), "{release}");
        assert!(rendered.all("ServiceAccount").any(|known| known["metadata"]["name"] == *account));
    });
}

#[test]
fn agents_read_the_map_that_the_server_writes() {
    each_release(|release, rendered| {
        let server: Value = serde_json::from_str(rendered.file("server.conf").unwrap()).unwrap();
        let publisher = &server["plugins"]["BundlePublisher"][0]["k8s_configmap"]["plugin_data"];
        let map = publisher["clusters"].as_object().unwrap().values().next().unwrap();
        let pods = rendered.of("DaemonSet", "agent");
        let volume = list(&pods["spec"]["template"]["spec"]["volumes"])
            .find(|volume| volume["name"] == "spire-bundle")
            .unwrap();
        assert_eq!(volume["configMap"]["name"], map["configmap_name"], "{release}");
        assert_eq!(volume["configMap"]["items"][0]["key"], map["configmap_key"], "{release}");
        assert_eq!(map["namespace"], place(pods).0, "{release}");
        let is_made = |known: &Value| {
            place(known) == (place(pods).0, map["configmap_name"].as_str().unwrap())
        };
        assert!(rendered.all("ConfigMap").any(is_made), "{release}");
        let path = &agent_conf(rendered)["agent"]["trust_bundle_path"];
        assert_eq!(path, &format!("/run/spire/bundle/{}", map["configmap_key"].as_str().unwrap()));
    });
}

#[test]
fn pods_get_the_directory_that_agents_serve_in() {
    for installation in INSTALLATIONS {
        let rendered = installation.render();
        let directory = |component| {
            let pods = rendered.of("DaemonSet", component);
            let volumes = &pods["spec"]["template"]["spec"]["volumes"];
            list(volumes).find(|volume| volume["name"] == "spire-agent-socket-dir").unwrap()["hostPath"]
                .clone()
        };
        if rendered.all("CSIDriver").next().is_some() {
            assert_eq!(directory("agent"), directory("spiffe-csi-driver"), "{installation:?}");
        }
    }
}

#[test]
fn the_webhook_is_called_where_the_controller_serves_it() {
    each_release(|release, rendered| {
        let webhooks = rendered.all("ValidatingWebhookConfiguration").next().unwrap();
        let file = rendered.file("controller-manager-config.yaml").unwrap();
        let configured = format!("validatingWebhookConfigurationName: {}\n", name(webhooks));
        assert!(format!("{file}\n").contains(&configured), "{release}");
        for webhook in list(&webhooks["webhooks"]) {
            let called = &webhook["clientConfig"]["service"];
            let called = (called["namespace"].as_str().unwrap(), called["name"].as_str().unwrap());
            assert!(rendered.all("Service").any(|service| place(service) == called), "{release}");
        }
    });
}

#[test]
fn names_are_unique_and_no_longer_than_kubernetes_has_them() {
    each_release(|release, rendered| {
        let mut seen = HashSet::new();
        for object in &rendered.objects {
            let kind = object["kind"].as_str().unwrap();
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
            assert!(
                seen.insert((kind, namespace, name(object))),
                "{release}: {kind} {}",
                name(object)
            );
            let longest = match kind {
                // The label with the revision of a StatefulSet adds eleven.
                "StatefulSet" => 52,
                "Service" | "DaemonSet" | "Pod" => 63,
                _ => 253,
            };
            assert!(name(object).len() <= longest, "{kind} {}", name(object));
        }
    });
}

#[test]
fn two_releases_in_one_cluster_share_no_object_but_the_driver() {
    let objects = |release, namespace| {
        let rendered = Installation { release, namespace, ..Installation::USUAL }.render();
        let whole =
            rendered.objects.into_iter().filter(|object| object["metadata"]["namespace"].is_null());
        whole
            .map(|object| format!("{} {}", object["kind"].as_str().unwrap(), name(&object)))
            .collect::<HashSet<_>>()
    };
    let (first, second) = (objects("spire", "a"), objects("spire", "b"));
    let shared: Vec<_> = first.intersection(&second).collect();
    assert_eq!(shared, ["CSIDriver csi.spiffe.io"]);
}

#[test]
fn commands_of_guides_find_what_they_name() {
    let rendered = Installation::USUAL.render();
    assert_eq!(place(rendered.of("StatefulSet", "server")), ("spire-server", "spire-server"));
    assert_eq!(place(rendered.of("DaemonSet", "agent")), ("spire-server", "spire-agent"));
    let driver = rendered.of("DaemonSet", "spiffe-csi-driver");
    assert_eq!(place(driver), ("spire-server", "spire-spiffe-csi-driver"));
    let containers: Vec<_> = rendered
        .pods()
        .flat_map(|(_, pod)| list(&pod["containers"]))
        .map(|container| container["name"].as_str().unwrap())
        .collect();
    let expected =
        ["spire-agent", "spiffe-csi-driver", "spire-server", "spire-controller-manager", "fetch"];
    assert_eq!(containers, expected);
    let class = "className: spire-server-spire\n";
    assert!(rendered.file("controller-manager-config.yaml").unwrap().contains(class));
}
