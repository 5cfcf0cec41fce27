//! The ConfigMaps as Istio's quick start, the chart and SPIRE's documentation write them.

use super::*;
use crate::config::{Environment, Loaded, Source};
use crate::server::config::{Overrides, ServerConfig, read};
use std::path::Path;

fn load(plugins: &str) -> Result<Loaded<ServerConfig>, String> {
    let text = format!(
        r#"server {{ trust_domain = "example.org" data_dir = "/d" }}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = "/d/s" }} }}
  KeyManager "memory" {{ plugin_data {{}} }}
{plugins}
}}"#
    );
    let source = Source::new(Path::new("server.conf"), text.into_bytes(), Environment::Literal);
    read(&source.unwrap(), &Overrides::default()).map_err(|error| error.to_string())
}

fn maps(plugins: &str) -> Vec<BundleMap> {
    load(plugins).unwrap().config.bundle_maps
}

fn notified(namespace: &str, name: &str, key: &str, file: Option<&str>) -> BundleMap {
    let form = BundleForm { format: BundleFormat::Pem, refresh_hint: None };
    BundleMap {
        kube_config_file: file.map(PathBuf::from),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        manager: "spire-notifier-k8sbundle",
        keys: [(key.to_owned(), form)].into(),
    }
}

#[test]
fn the_notifier_writes_pem_where_spires_would() {
    let own = notified("spire", "spire-bundle", "bundle.crt", None);
    for data in ["", "plugin_data {}", "plugin_data { namespace = \"spire\" }"] {
        assert_eq!(
            maps(&format!("Notifier \"k8sbundle\" {{ {data} }}")),
            std::slice::from_ref(&own),
            "{data}"
        );
    }
    let elsewhere = r#"Notifier "k8sbundle" { plugin_data {
        namespace = "infra" config_map = "agents" config_map_key = "bootstrap.crt"
        kube_config_file_path = "/k" } }"#;
    assert_eq!(maps(elsewhere), [notified("infra", "agents", "bootstrap.crt", Some("/k"))]);
}

#[test]
fn further_clusters_of_the_notifier_stand_beside_the_own_one_if_anything_is_said_of_that() {
    let others = r#"clusters = [
        { kube_config_file_path = "/2" },
        { kube_config_file_path = "/3" namespace = "x" config_map = "y" config_map_key = "z" }]"#;
    let others_only = [
        notified("spire", "spire-bundle", "bundle.crt", Some("/2")),
        notified("x", "y", "z", Some("/3")),
    ];
    assert_eq!(
        maps(&format!("Notifier \"k8sbundle\" {{ plugin_data {{ {others} }} }}")),
        others_only
    );
    let with_own = maps(&format!(
        "Notifier \"k8sbundle\" {{ plugin_data {{ namespace = \"spire\" {others} }} }}"
    ));
    assert_eq!(with_own[0], notified("spire", "spire-bundle", "bundle.crt", None));
    assert_eq!(with_own[1..], others_only);
    let lost = "Notifier \"k8sbundle\" { plugin_data { clusters = [{ namespace = \"x\" }] } }";
    let error = load(lost).unwrap_err();
    assert_eq!(error, "cluster configuration is missing kube_config_file_path");
}

#[test]
fn the_publishers_clusters_are_read_as_the_chart_writes_them() {
    let chart = r#"{"server": {"trust_domain": "example.org", "data_dir": "/d"}, "plugins": {
        "DataStore": [{"sql": {"plugin_data": {"database_type": "sqlite3", "connection_string": "/d/s"}}}],
        "KeyManager": [{"memory": {"plugin_data": {}}}],
        "BundlePublisher": {"k8s_configmap": {"plugin_data": {"clusters": [
            {"chart-internal": {"format": "spiffe", "namespace": "spire-system",
             "configmap_name": "spire-bundle", "configmap_key": "bundle.spiffe"}}]}}}}}"#;
    let source =
        Source::new(Path::new("server.conf"), chart.as_bytes().to_vec(), Environment::Literal);
    let found = read(&source.unwrap(), &Overrides::default()).unwrap().config.bundle_maps;
    let form = BundleForm { format: BundleFormat::Spiffe, refresh_hint: None };
    let wanted = BundleMap {
        kube_config_file: None,
        namespace: "spire-system".to_owned(),
        name: "spire-bundle".to_owned(),
        manager: "spire-bundlepublisher-k8s_configmap",
        keys: [("bundle.spiffe".to_owned(), form)].into(),
    };
    assert_eq!(found, [wanted]);
}

fn publisher(clusters: &str) -> String {
    format!("BundlePublisher \"k8s_configmap\" {{ plugin_data {{ clusters = {{ {clusters} }} }} }}")
}

fn cluster(name: &str, key: &str, form: &str) -> String {
    format!(
        "\"{name}\" = {{ namespace = \"n\" configmap_name = \"m\" configmap_key = \"{key}\" {form} }}"
    )
}

#[test]
fn what_one_writer_gives_to_a_map_is_applied_at_once_and_no_key_has_two_forms() {
    let (pem, jwks) =
        (cluster("a", "x", "format = \"PEM\""), cluster("b", "y", "format = \"jwks\""));
    let found = maps(&publisher(&format!("{pem} {jwks}")));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].keys.keys().collect::<Vec<_>>(), ["x", "y"]);
    let again = cluster("b", "x", "format = \"jwks\"");
    let error = load(&publisher(&format!("{pem} {again}"))).unwrap_err();
    let wanted = "key \"x\" of ConfigMap n/m cannot hold the bundle in two forms; use two keys";
    assert!(error.ends_with(wanted), "{error}");
}

#[test]
fn what_a_cluster_lacks_is_said_in_spires_words() {
    let whole = cluster("a", "x", "format = \"spiffe\" refresh_hint = \"10m\"");
    let hint = maps(&publisher(&whole))[0].keys["x"].refresh_hint;
    assert_eq!(hint, Some(Duration::from_secs(600)));
    for (missing, wanted) in [
        ("format = \"spiffe\"", "missing bundle format in cluster \"a\""),
        ("namespace = \"n\"", "missing namespace in cluster \"a\""),
        ("configmap_name = \"m\"", "missing configmap name in cluster \"a\""),
        ("configmap_key = \"x\"", "missing configmap key in cluster \"a\""),
    ] {
        assert_eq!(load(&publisher(&whole.replace(missing, ""))).unwrap_err(), wanted);
    }
    let warnings = load(&publisher("")).unwrap().warnings;
    assert_eq!(warnings, [Warning::BundleNotPublished]);
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    for (plugins, wanted) in [
        (
            "Notifier \"k8sbundle\" { plugin_data { webhook_label = \"x\" } }",
            "plugins.Notifier.k8sbundle.plugin_data.webhook_label is a SPIRE setting that finial does not support yet",
        ),
        (
            "Notifier \"k8sbundle\" { plugin_data { api_service_label = \"x\" } }",
            "plugins.Notifier.k8sbundle.plugin_data.api_service_label is a SPIRE setting that finial does not support \
             yet",
        ),
        (
            "Notifier \"gcs_bundle\" {}",
            "Notifier \"gcs_bundle\" is a SPIRE plugin that finial does not support yet",
        ),
        (
            "BundlePublisher \"aws_s3\" {}",
            "BundlePublisher \"aws_s3\" is a SPIRE plugin that finial does not support yet",
        ),
    ] {
        let error = load(plugins).unwrap_err();
        assert!(error.ends_with(wanted), "{error}");
    }
}
