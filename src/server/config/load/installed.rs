//! The files that Istio's quick start and the Helm chart install, read as they are.

use super::super::model::*;
use super::*;
use crate::config::{Warning, listen::HealthChecks};
use std::time::Duration;

fn load(text: &str) -> Loaded<ServerConfig> {
    let bytes = text.as_bytes().to_vec();
    let source = Source::new(Path::new("server.conf"), bytes, Environment::Literal).unwrap();
    read(&source, &Overrides::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// What Istio's quick start gives to a SPIRE server.
const ISTIO: &str = r#"server {
  bind_address = "0.0.0.0"
  bind_port = "8081"
  trust_domain = "example.org"
  data_dir = "/run/spire/server/data"
  log_level = "DEBUG"
  federation {
    bundle_endpoint {
      address = "0.0.0.0"
      port = 8443
    }
  }
}

plugins {
  DataStore "sql" {
    plugin_data {
      database_type = "sqlite3"
      connection_string = "/run/spire/server/data/datastore.sqlite3"
    }
  }

  NodeAttestor "k8s_psat" {
    plugin_data {
      clusters = {
        # NOTE: Change this to your cluster name
        "demo-cluster" = {
          service_account_allow_list = ["spire:spire-agent"]
        }
      }
    }
  }

  KeyManager "disk" {
    plugin_data {
      keys_path = "/run/spire/server/data/keys.json"
    }
  }

  Notifier "k8sbundle" {
    plugin_data {
      namespace = "spire"
    }
  }
}

health_checks {
  listener_enabled = true
  bind_address = "0.0.0.0"
  bind_port = "8080"
  live_path = "/live"
  ready_path = "/ready"
}
"#;

#[test]
fn istios_quick_start_is_read_as_it_is() {
    let Loaded { config, warnings } = load(ISTIO);
    assert_eq!(warnings, [Warning::NoEndpointProfile], "as SPIRE warns");
    let endpoint = config.bundle_endpoint.unwrap();
    assert_eq!(endpoint.bind, "0.0.0.0:8443".parse().unwrap());
    let [map] = &config.bundle_maps[..] else { panic!("{:?}", config.bundle_maps) };
    assert_eq!(map.to_string(), "spire/spire-bundle");
    assert_eq!(map.keys.keys().collect::<Vec<_>>(), ["bundle.crt"]);
    let [NodeAttestor::K8sPsat { clusters }] = &config.node_attestors[..] else { panic!() };
    assert_eq!(clusters["demo-cluster"].service_account_allow_list, ["spire:spire-agent"]);
    assert!(matches!(config.key_manager, KeyManager::Disk { .. }));
    assert_eq!(config.health_checks.unwrap().bind, "0.0.0.0:8080".parse().unwrap());
}

/// What the Helm chart writes for a guide's values, federation switched on.
const CHART: &str = r#"{
  "health_checks": {"bind_address": "0.0.0.0", "bind_port": "8080", "listener_enabled": true,
                    "live_path": "/live", "ready_path": "/ready"},
  "plugins": {
    "BundlePublisher": {"k8s_configmap": {"plugin_data": {"clusters": [{"chart-internal": {
      "configmap_key": "bundle.spiffe", "configmap_name": "spire-bundle", "format": "spiffe", "namespace": "spire"}}]}}},
    "DataStore": {"sql": {"plugin_data": {
      "connection_string": "/run/spire/data/datastore.sqlite3", "database_type": "sqlite3",
      "disable_migration": false, "max_idle_conns": 2, "max_open_conns": 100}}},
    "KeyManager": {"disk": {"plugin_data": {"keys_path": "/run/spire/data/keys.json"}}},
    "NodeAttestor": {"k8s_psat": {"plugin_data": {"clusters": [{"example-cluster": {
      "allowed_node_label_keys": [], "allowed_pod_label_keys": [], "audience": ["spire-server"],
      "service_account_allow_list": ["spire:spire-agent"]}}]}}}
  },
  "server": {
    "audit_log_enabled": false, "bind_address": "0.0.0.0", "bind_port": "8081", "ca_key_type": "rsa-2048",
    "ca_subject": [{"common_name": "example.org", "country": ["ARPA"], "organization": ["Example"]}],
    "ca_ttl": "720h", "data_dir": "/run/spire/data", "default_jwt_svid_ttl": "1h", "default_x509_svid_ttl": "4h",
    "disable_jwt_svids": false,
    "federation": {"bundle_endpoint": {"address": "0.0.0.0", "port": 8443, "profile": [{"https_spiffe": {}}],
                                       "refresh_hint": "5m"}},
    "jwt_issuer": "https://oidc-discovery.example.org", "log_level": "info",
    "ratelimit": {"attestation": true, "signing": true}, "trust_domain": "example.org"
  },
  "telemetry": [{"Prometheus": [{"host": "0.0.0.0", "port": 9988}]}]
}"#;

#[test]
fn the_charts_file_is_read_as_it_is() {
    let Loaded { config, warnings } = load(CHART);
    let settings = vec!["jwt_issuer", "default_jwt_svid_ttl"];
    assert_eq!(warnings, [Warning::NoJwtSvids { settings }]);
    assert_eq!(config.ca.ttl, Duration::from_secs(720 * 3_600));
    assert_eq!(config.ca.subject.common_name.as_deref(), Some("example.org"));
    assert_eq!(config.x509_svid_ttl, Duration::from_secs(4 * 3_600));
    assert_eq!(config.bundle_endpoint.unwrap().refresh_hint, Duration::from_secs(300));
    let form = BundleForm { format: BundleFormat::Spiffe, refresh_hint: None };
    assert_eq!(config.bundle_maps[0].keys["bundle.spiffe"], form);
    let checks = HealthChecks {
        bind: "0.0.0.0:8080".parse().unwrap(),
        live_path: "/live".to_owned(),
        ready_path: "/ready".to_owned(),
    };
    assert_eq!(config.health_checks, Some(checks));
    assert_eq!(config.prometheus.unwrap().bind, "0.0.0.0:9988".parse().unwrap());
}
