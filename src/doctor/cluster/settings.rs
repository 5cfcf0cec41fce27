//! What stands in the ConfigMaps: the settings of server and agent, and Istio's. Each reader takes the few
//! that matter here and judges no other, so that the configuration of any version will do.

use super::objects::or_default;
use crate::{
    agent::config::default,
    config::{self, Environment, Source, value},
    spiffe::TrustDomain,
};
use serde::Deserialize;
use std::{collections::BTreeMap, path::Path};

/// Of the server's or the agent's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) trust_domain: TrustDomain,
    /// The names of the workloads' socket; an agent's.
    pub(super) socket_names: Vec<String>,
}

/// `MeshConfig` of Istio.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Mesh {
    pub(super) trust_domain: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) trust_domain_aliases: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    ca_certificates: Vec<CaCertificate>,
    #[serde(deserialize_with = "or_default")]
    default_config: ProxyConfig,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CaCertificate {
    #[serde(deserialize_with = "or_default")]
    trust_domains: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ProxyConfig {
    #[serde(deserialize_with = "or_default")]
    proxy_metadata: BTreeMap<String, String>,
}

/// The configuration of the sidecar injector.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Injector {
    /// By their names.
    pub(super) templates: BTreeMap<String, String>,
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            // As istiod has it.
            trust_domain: "cluster.local".to_owned(),
            trust_domain_aliases: Vec::new(),
            ca_certificates: Vec::new(),
            default_config: ProxyConfig::default(),
        }
    }
}

impl Mesh {
    pub(super) fn read(text: &str) -> Result<Self, serde_saphyr::Error> {
        serde_saphyr::from_str(text)
    }

    /// Whether sidecars take the identities of this trust domain for those of peers.
    pub(super) fn knows(&self, trust_domain: &str) -> bool {
        let certificates = self.ca_certificates.iter().flat_map(|of| &of.trust_domains);
        self.trust_domain == trust_domain
            || self.trust_domain_aliases.iter().chain(certificates).any(|of| of == trust_domain)
    }

    /// The name of the socket that proxies open.
    pub(super) fn socket_name(&self) -> &str {
        let set = self.default_config.proxy_metadata.get("WORKLOAD_IDENTITY_SOCKET_FILE");
        set.map_or("socket", String::as_str)
    }
}

impl Injector {
    pub(super) fn read(text: &str) -> Result<Self, serde_saphyr::Error> {
        serde_saphyr::from_str(text)
    }
}

/// Reads the configuration file of a server or an agent, whose settings are in this `block`.
pub(super) fn read(block: &'static str, text: &str) -> Result<Settings, config::Error> {
    let path = format!("{block}.conf");
    let source = Source::new(Path::new(&path), text.as_bytes().to_vec(), Environment::Literal)?;
    let ((trust_domain, socket_names), mut problems) = source.read(|file| {
        let read = file.table(block, |block| {
            let trust_domain = block.text("trust_domain", value::trust_domain);
            let socket = block.text("socket_path", value::string);
            let socket = socket.map_or_else(|| default::SOCKET_PATH.to_owned(), |set| set.value);
            let alternate = block.texts("socket_alternate_names").map(|set| set.value);
            block.ignore();
            (trust_domain, socket_names(&socket, alternate))
        });
        file.ignore();
        read
    })?;
    let path = format!("{block}.trust_domain");
    match problems.require(trust_domain, &path, "trust_domain") {
        Some(trust_domain) => Ok(Settings { trust_domain, socket_names }),
        None => Err(config::Error::Invalid { problems }),
    }
}

/// The name of the socket, and those that the agent has beside it.
fn socket_names(path: &str, alternate: Option<Vec<String>>) -> Vec<String> {
    let own = path.rsplit('/').next().map(str::to_owned).unwrap_or_default();
    let usual = default::ALTERNATE_NAMES.map(str::to_owned);
    let beside = match alternate {
        Some(names) => names,
        None if usual.contains(&own) => usual.into(),
        None => Vec::new(),
    };
    [vec![own], beside].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_configuration_give_the_trust_domain_and_the_sockets_names() {
        let quick_start = "agent {\n trust_domain = \"example.org\"\n log_level = \"debug\"\n \
             socket_path = \"/run/secrets/workload-spiffe-uds/socket\"\n}\nplugins { New \"x\" {} }";
        let read_agent = |text| read("agent", text).unwrap();
        assert_eq!(read_agent(quick_start).trust_domain.name(), "example.org");
        assert!(read_agent(quick_start).socket_names.contains(&"spire-agent.sock".to_owned()));
        let chart = r#"{"agent": {"trust_domain": "foo.com", "socket_path": "/a/own.sock", "new": 1,
            "socket_alternate_names": ["socket"]}, "health_checks": {"listener_enabled": true}}"#;
        assert_eq!(read_agent(chart).socket_names, ["own.sock", "socket"]);
        assert_eq!(
            read_agent(r#"{"agent": {"trust_domain": "a", "socket_path": "/a/x"}}"#).socket_names,
            ["x"]
        );
        let server = read("server", "server { trust_domain = \"a\" }").unwrap();
        assert_eq!(server.trust_domain.name(), "a");
        // The second is expanded where the server runs, by what nobody here knows.
        for text in ["server {", "server { trust_domain = \"$DOMAIN\" }", "server { }", ""] {
            assert!(read("server", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mesh_that_says_nothing_has_istios_defaults() {
        let mesh = Mesh::read("enableTracing: true\ndefaultConfig:\ncaCertificates:\n").unwrap();
        assert_eq!((mesh.trust_domain.as_str(), mesh.socket_name()), ("cluster.local", "socket"));
        let mesh = Mesh::read(
            "trustDomain: a\nmeshMTLS: null\ntrustDomainAliases: [b]\ncaCertificates: [{pem: x, trustDomains: [c]}]\n\
             defaultConfig: {proxyMetadata: {WORKLOAD_IDENTITY_SOCKET_FILE: api.sock}}\n",
        );
        let mesh = mesh.unwrap();
        assert_eq!(mesh.socket_name(), "api.sock");
        assert_eq!(["a", "b", "c", "d"].map(|of| mesh.knows(of)), [true, true, true, false]);
    }
}
