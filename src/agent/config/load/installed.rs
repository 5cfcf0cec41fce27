//! The files that Istio's quick start and the Helm chart install, read as they are.

use super::super::model::*;
use super::*;
use crate::config::Warning;

fn load(text: &str) -> Loaded<AgentConfig> {
    let bytes = text.as_bytes().to_vec();
    let source = Source::new(Path::new("agent.conf"), bytes, Environment::Literal).unwrap();
    read(&source, &Overrides::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// What Istio's quick start gives to a SPIRE agent.
const ISTIO: &str = r#"agent {
  data_dir = "/run/spire"
  log_level = "DEBUG"
  server_address = "spire-server"
  server_port = "8081"
  socket_path = "/run/secrets/workload-spiffe-uds/socket"
  trust_bundle_path = "/run/spire/bundle/bundle.crt"
  trust_domain = "example.org"
}

plugins {
  NodeAttestor "k8s_psat" {
    plugin_data {
      # NOTE: Change this to your cluster name
      cluster = "demo-cluster"
    }
  }

  KeyManager "memory" {
    plugin_data {
    }
  }

  WorkloadAttestor "k8s" {
    plugin_data {
      skip_kubelet_verification = true
      # disable_container_selectors = true
    }
  }

  WorkloadAttestor "unix" {
      plugin_data {
      }
  }

}
"#;

#[test]
fn the_agent_of_istios_quick_start_is_read_as_it_is() {
    let Loaded { config, warnings } = load(ISTIO);
    let psat = NodeAttestor::K8sPsat {
        cluster: "demo-cluster".to_owned(),
        token_path: "/var/run/secrets/tokens/spire-agent".into(),
    };
    assert_eq!(config.node_attestor, psat);
    assert!(matches!(
        config.workload_attestors[..],
        [WorkloadAttestor::K8s(_), WorkloadAttestor::Unix { .. }]
            | [WorkloadAttestor::Unix { .. }, WorkloadAttestor::K8s(_)]
    ));
    assert_eq!(warnings, [Warning::KubeletUnverified]);
}

/// What the Helm chart writes for a guide's values.
const CHART: &str = r#"{
  "agent": {
    "data_dir": "/var/lib/spire", "log_format": "text", "log_level": "info",
    "rebootstrap_delay": "10m", "rebootstrap_mode": "always",
    "sds": {"default_all_bundles_name": "ROOTCA", "default_bundle_name": "null", "default_svid_name": "default",
            "disable_spiffe_cert_validation": false},
    "server_address": "spire-server.spire", "server_port": "443",
    "socket_path": "/tmp/spire-agent/public/spire-agent.sock",
    "trust_bundle_format": "spiffe", "trust_bundle_path": "/run/spire/bundle/bundle.spiffe",
    "trust_domain": "example.org"
  },
  "health_checks": {"bind_address": "0.0.0.0", "bind_port": "9982", "listener_enabled": true,
                    "live_path": "/live", "ready_path": "/ready"},
  "plugins": {
    "KeyManager": {"memory": {"plugin_data": null}},
    "NodeAttestor": {"k8s_psat": {"plugin_data": {"cluster": "example-cluster"}}},
    "WorkloadAttestor": {
      "k8s": {"plugin_data": {"disable_container_selectors": false, "node_name_env": "KUBELET_ADDR",
              "skip_kubelet_verification": true, "use_new_container_locator": true,
              "verbose_container_locator_logs": false}},
      "unix": {"plugin_data": null}}
  },
  "telemetry": [{"Prometheus": [{"host": "0.0.0.0", "port": 9988}]}]
}"#;

#[test]
fn the_agent_of_the_chart_is_read_as_it_is() {
    let Loaded { config, warnings } = load(CHART);
    assert_eq!(warnings, [Warning::KubeletUnverified]);
    let bundle = Bootstrap::Bundle {
        path: "/run/spire/bundle/bundle.spiffe".into(),
        format: BundleFormat::Spiffe,
    };
    assert_eq!(config.bootstrap, bundle);
    assert_eq!(config.socket_path, Path::new("/tmp/spire-agent/public/spire-agent.sock"));
    assert!(
        config.alternate_names.iter().any(|name| name == "socket"),
        "as ensure-alternate-names"
    );
    assert_eq!(config.sds.default_all_bundles_name.as_deref(), Some("ROOTCA"));
    assert_eq!(config.health_checks.unwrap().bind, "0.0.0.0:9982".parse().unwrap());
    assert_eq!(config.workload_attestors.len(), 2);
}
