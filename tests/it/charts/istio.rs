//! The templates for Istio: the form for each kind of sidecar, otherwise the same.

use super::helm::{charts, list, parsed};
use serde_json::Value;
use std::{collections::BTreeMap, fs};

fn templates(file: &str) -> BTreeMap<String, Value> {
    let text = fs::read_to_string(charts().join("istio").join(file)).unwrap();
    let operator = parsed(&text).remove(0);
    let texts =
        operator["spec"]["values"]["sidecarInjectorWebhook"]["templates"].as_object().unwrap();
    let parse = |text: &Value| parsed(text.as_str().unwrap()).remove(0)["spec"].clone();
    texts.iter().map(|(name, text)| (name.clone(), parse(text))).collect()
}

#[test]
fn a_template_changes_the_list_that_the_proxy_is_in() {
    for (file, sidecar) in
        [("native-sidecar.yaml", "initContainers"), ("container-sidecar.yaml", "containers")]
    {
        let templates = templates(file);
        assert_eq!(templates["spire-gateway"], templates["spireGateway"]);
        for (name, expected) in [("spire", sidecar), ("spire-gateway", "containers")] {
            let lists = ["initContainers", "containers"];
            let changed: Vec<_> =
                lists.into_iter().filter(|key| !templates[name][*key].is_null()).collect();
            assert_eq!(changed, [expected], "{file} {name}");
            assert_eq!(templates[name][expected][0]["name"], "istio-proxy");
        }
    }
}

#[test]
fn every_template_mounts_the_drivers_volume_read_only_where_the_proxy_looks() {
    for file in ["native-sidecar.yaml", "container-sidecar.yaml"] {
        for (name, template) in templates(file) {
            let volume = &template["volumes"][0];
            let expected = serde_json::json!({"driver": "csi.spiffe.io", "readOnly": true});
            assert_eq!(volume["csi"], expected, "{file} {name}");
            let proxy = ["initContainers", "containers"]
                .into_iter()
                .find_map(|key| list(&template[key]).next())
                .unwrap();
            let mount = &proxy["volumeMounts"][0];
            assert_eq!(mount["name"], volume["name"]);
            assert_eq!(mount["mountPath"], "/var/run/secrets/workload-spiffe-uds");
            assert_eq!(mount["readOnly"], true);
        }
    }
}
