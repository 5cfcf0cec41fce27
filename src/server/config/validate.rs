//! From the file's table to what the server runs with: defaults, required settings, and settings that do not fit together.

use std::path::Path;
use std::time::Duration;

use crate::config::listen::{Endpoint, socket_path};
use crate::config::{Cause, Problems, Setting, Warning};

use super::bundle_maps;
use super::default;
use super::model::{
    BundleMap, CaConfig, CaSubject, DataStore, KeyManager, NodeAttestor, RateLimit, ServerConfig,
};
use super::psat;
use super::raw::{
    RawCaSubject, RawDataStore, RawJwt, RawKeyManager, RawNodeAttestor, RawPlugins, RawServer,
    RawServerBlock,
};

/// The server's configuration, if nothing it needs is missing or wrong.
pub(super) fn validate(
    raw: RawServer,
    problems: &mut Problems,
    warnings: &mut Vec<Warning>,
) -> Option<ServerConfig> {
    let server = raw.server;
    let lifetimes = Lifetimes::of(&server, warnings);
    let bind = Endpoint {
        host: server.bind_address,
        default_host: default::BIND_ADDRESS,
        port: server.bind_port,
        default_port: default::BIND_PORT,
        path: "server",
        keys: ("bind_address", "bind_port"),
    }
    .validate(problems);
    let trust_domain = problems.require(server.trust_domain, "server.trust_domain", "trust_domain");
    let data_dir = problems.require(server.data_dir, "server.data_dir", "data_dir");
    let socket_path = match server.socket_path {
        Some(path) => socket_path(&path.value, Some(path.origin), "server.socket_path", problems),
        None => Some(Path::new(default::SOCKET_PATH).to_owned()),
    };
    let ca = CaConfig {
        ttl: lifetimes.ca,
        key_type: server.ca_key_type.map_or(default::CA_KEY_TYPE, |key_type| key_type.value),
        subject: server
            .ca_subject
            .map_or_else(CaSubject::default, |subject| ca_subject(subject, warnings)),
    };
    let limited = RateLimit::default();
    let rate_limit = RateLimit {
        attestation: server.ratelimit.attestation.map_or(limited.attestation, |limit| limit.value),
        signing: server.ratelimit.signing.map_or(limited.signing, |limit| limit.value),
    };
    warnings.extend(jwt_warning(&server.jwt));
    let bundle_endpoint = server.federation.validate(problems, warnings);
    let health_checks = raw.health_checks.validate(problems);
    let prometheus = raw.telemetry.validate(problems);
    let plugins = validate_plugins(raw.plugins, problems, warnings);
    let log = server.log.validate();
    let PluginConfigs { data_store, key_manager, node_attestors, bundle_maps } = plugins?;
    Some(ServerConfig {
        bind: bind?,
        socket_path: socket_path?,
        trust_domain: trust_domain?,
        data_dir: data_dir?,
        log,
        ca,
        x509_svid_ttl: lifetimes.x509_svid,
        agent_ttl: lifetimes.agent,
        rate_limit,
        health_checks,
        prometheus,
        data_store,
        key_manager,
        node_attestors,
        bundle_endpoint,
        bundle_maps,
    })
}

/// How long what is signed lives.
struct Lifetimes {
    ca: Duration,
    x509_svid: Duration,
    agent: Duration,
}

impl Lifetimes {
    fn of(server: &RawServerBlock, warnings: &mut Vec<Warning>) -> Self {
        let value = |setting: &Option<Setting<Duration>>| setting.as_ref().map(|ttl| ttl.value);
        let ca = value(&server.ca_ttl).unwrap_or(default::CA_TTL);
        let x509_svid = value(&server.default_x509_svid_ttl).unwrap_or(default::X509_SVID_TTL);
        warnings.extend(lifetime_warning("default_x509_svid_ttl", x509_svid, ca));
        let agent = value(&server.agent_ttl);
        warnings.extend(agent.and_then(|agent| lifetime_warning("agent_ttl", agent, ca)));
        Self { ca, x509_svid, agent: agent.unwrap_or(x509_svid) }
    }
}

struct PluginConfigs {
    data_store: DataStore,
    key_manager: KeyManager,
    node_attestors: Vec<NodeAttestor>,
    bundle_maps: Vec<BundleMap>,
}

fn validate_plugins(
    raw: Option<RawPlugins>,
    problems: &mut Problems,
    warnings: &mut Vec<Warning>,
) -> Option<PluginConfigs> {
    let Some(raw) = raw else {
        let what = "plugins section";
        problems.push("plugins", None, Cause::Missing { what });
        return None;
    };
    let data_store = raw
        .data_stores
        .exactly_one(problems)
        .and_then(|data_store| validate_data_store(data_store, problems));
    let key_manager = raw
        .key_managers
        .exactly_one(problems)
        .and_then(|key_manager| validate_key_manager(key_manager, problems));
    let node_attestors = raw.node_attestors.any().into_iter().map(|attestor| match attestor {
        RawNodeAttestor::JoinToken => NodeAttestor::JoinToken,
        RawNodeAttestor::K8sPsat { clusters } => {
            NodeAttestor::K8sPsat { clusters: psat::validate(clusters, problems, warnings) }
        }
    });
    let node_attestors = node_attestors.collect();
    let (notified, published) = (raw.notifiers.any(), raw.bundle_publishers.any());
    let bundle_maps = bundle_maps::validate(notified, published, problems, warnings);
    Some(PluginConfigs {
        data_store: data_store?,
        key_manager: key_manager?,
        node_attestors,
        bundle_maps,
    })
}

fn validate_data_store(raw: RawDataStore, problems: &mut Problems) -> Option<DataStore> {
    let path = "plugins.DataStore.sql.plugin_data";
    let database_type = problems.require(
        raw.database_type,
        &format!("{path}.database_type"),
        "database_type of DataStore \"sql\"",
    );
    let connection_string = problems.require(
        raw.connection_string,
        &format!("{path}.connection_string"),
        "connection_string of DataStore \"sql\"",
    );
    database_type?;
    Some(DataStore::Sqlite { connection_string: connection_string? })
}

fn validate_key_manager(raw: RawKeyManager, problems: &mut Problems) -> Option<KeyManager> {
    match raw {
        RawKeyManager::Memory => Some(KeyManager::Memory),
        RawKeyManager::Disk { keys_path } => {
            let keys_path = problems.require(
                keys_path,
                "plugins.KeyManager.disk.plugin_data.keys_path",
                "keys_path of KeyManager \"disk\"",
            )?;
            Some(KeyManager::Disk { keys_path })
        }
        RawKeyManager::K8sSecret { namespace, secret_name, kube_config_file_path } => {
            let path = "plugins.KeyManager.k8s_secret.plugin_data";
            let namespace = problems.require(
                namespace,
                &format!("{path}.namespace"),
                "namespace of KeyManager \"k8s_secret\"",
            );
            let name = problems.require(
                secret_name,
                &format!("{path}.secret_name"),
                "secret_name of KeyManager \"k8s_secret\"",
            );
            let kube_config_file = kube_config_file_path.map(|path| path.value);
            Some(KeyManager::KubernetesSecret {
                kube_config_file,
                namespace: namespace?,
                name: name?,
            })
        }
    }
}

fn ca_subject(raw: RawCaSubject, warnings: &mut Vec<Warning>) -> CaSubject {
    let subject = CaSubject {
        country: raw.country.map(|country| country.value).unwrap_or_default(),
        organization: raw.organization.map(|organization| organization.value).unwrap_or_default(),
        common_name: raw.common_name.map(|common_name| common_name.value),
    };
    let is_empty = subject.country.is_empty()
        && subject.organization.is_empty()
        && subject.common_name.is_none();
    if is_empty {
        warnings.push(Warning::EmptyCaSubject);
        return CaSubject::default();
    }
    subject
}

/// What is said of JWT-SVIDs has no effect as long as finial issues none; a file may say that it wants none.
fn jwt_warning(raw: &RawJwt) -> Option<Warning> {
    let settings: Vec<_> = [
        (raw.issuer.is_some(), "jwt_issuer"),
        (raw.key_type.is_some(), "jwt_key_type"),
        (raw.default_ttl.is_some(), "default_jwt_svid_ttl"),
    ]
    .into_iter()
    .filter_map(|(is_set, key)| is_set.then_some(key))
    .collect();
    let is_wanted = raw.disabled.as_ref().is_none_or(|disabled| !disabled.value);
    (is_wanted && !settings.is_empty()).then_some(Warning::NoJwtSvids { settings })
}

/// A CA stops signing when a sixth of its life is left, or seven days: SPIRE's rotation schedule.
const ACTIVATION_DIVISOR: u32 = 6;
const LONGEST_SVID_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Warns of SVIDs that would outlive the CA that signs them last.
fn lifetime_warning(setting: &'static str, ttl: Duration, ca_ttl: Duration) -> Option<Warning> {
    let longest = (ca_ttl / ACTIVATION_DIVISOR).min(LONGEST_SVID_TTL);
    if ttl <= longest {
        return None;
    }
    if ttl < LONGEST_SVID_TTL {
        return Some(Warning::LongerThanCa {
            setting,
            longest,
            ca_ttl: ttl.saturating_mul(ACTIVATION_DIVISOR),
        });
    }
    Some(Warning::LongerThanAnyCa { setting, longest })
}
