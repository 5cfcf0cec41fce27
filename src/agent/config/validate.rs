//! From the file's table to what the agent runs with: defaults, required settings, and settings that do not fit together.

use std::path::{Path, PathBuf};

use crate::config::listen::{port, socket_path};
use crate::config::{Cause, Problems, Setting, Warning};

use super::default;
use super::model::{
    AgentConfig, Bootstrap, CertificateValidation, Executable, JoinToken, KeyManager, NodeAttestor,
    Sds, ServerAddress, WorkloadAttestor,
};
use crate::transport::{Limits, Takeover};

use super::raw::{
    RawAgent, RawAgentBlock, RawKeyManager, RawLimits, RawNodeAttestor, RawPlugins, RawSds,
    RawWorkloadAttestor,
};

/// The agent's configuration, if nothing it needs is missing or wrong.
pub(super) fn validate(
    raw: RawAgent,
    problems: &mut Problems,
    warnings: &mut Vec<Warning>,
) -> Option<AgentConfig> {
    let mut agent = raw.agent;
    let join_token = join_token(&mut agent, problems);
    let server = server_address(&mut agent, problems);
    let trust_domain =
        problems.require(agent.trust_domain.take(), "agent.trust_domain", "trust_domain");
    let bootstrap = bootstrap(&mut agent, problems);
    if bootstrap == Some(Bootstrap::Insecure) {
        warnings.push(Warning::InsecureBootstrap);
    }
    let sockets = sockets(&agent, problems);
    let x509_svid_cache_max_size = cache_size(agent.x509_svid_cache_max_size, problems);
    let limits = limits(&agent.limits, problems);
    let health_checks = raw.health_checks.validate(problems);
    let prometheus = raw.telemetry.validate(problems);
    let plugins = validate_plugins(raw.plugins, join_token, problems, warnings);
    let sds = sds(agent.sds, warnings);
    let (socket_path, admin_socket_path) = sockets?;
    let alternate_names = alternate_names(agent.socket_alternate_names, &socket_path, problems)?;
    let (node_attestor, key_manager, workload_attestors) = plugins?;
    Some(AgentConfig {
        trust_domain: trust_domain?,
        data_dir: agent.data_dir.map_or_else(|| default::DATA_DIR.into(), |dir| dir.value),
        log: agent.log.validate(),
        server: server?,
        bootstrap: bootstrap?,
        socket_path,
        alternate_names,
        admin_socket_path,
        node_attestor,
        key_manager,
        workload_attestors,
        x509_svid_cache_max_size: x509_svid_cache_max_size?,
        sds,
        sync_interval: agent.sync_interval.map_or(default::SYNC_INTERVAL, |wait| wait.value),
        limits: limits?,
        takeover: Takeover::Refuse,
        health_checks,
        prometheus,
        renew_every: None,
    })
}

fn join_token(agent: &mut RawAgentBlock, problems: &mut Problems) -> Option<JoinToken> {
    match (agent.join_token.take(), agent.join_token_file.take()) {
        (Some(_), Some(file)) => {
            let cause = Cause::Exclusive { first: "join_token", second: "join_token_file" };
            problems.push("agent.join_token_file", Some(file.origin), cause);
            None
        }
        (Some(token), None) => Some(JoinToken::Token(token.value)),
        (None, Some(file)) => Some(JoinToken::File(file.value)),
        (None, None) => None,
    }
}

fn server_address(agent: &mut RawAgentBlock, problems: &mut Problems) -> Option<ServerAddress> {
    let path = "agent.server_address";
    let host = problems.require(agent.server_address.take(), path, "server_address");
    let path = "agent.server_port";
    let chosen = agent.server_port.take();
    let chosen_port = chosen.as_ref().and_then(|setting| port(setting, path, problems));
    problems.require(chosen, path, "server_port");
    Some(ServerAddress { host: host?, port: chosen_port? })
}

fn bootstrap(agent: &mut RawAgentBlock, problems: &mut Problems) -> Option<Bootstrap> {
    let insecure = agent.insecure_bootstrap.take().filter(|insecure| insecure.value);
    let format = agent.trust_bundle_format.take().map(|format| format.value).unwrap_or_default();
    match (insecure, agent.trust_bundle_path.take()) {
        (Some(_), None) => Some(Bootstrap::Insecure),
        (None, Some(path)) => Some(Bootstrap::Bundle { path: path.value, format }),
        (Some(insecure), Some(_)) => {
            let cause =
                Cause::Exclusive { first: "insecure_bootstrap", second: "trust_bundle_path" };
            problems.push("agent.insecure_bootstrap", Some(insecure.origin), cause);
            None
        }
        (None, None) => {
            let is_explained =
                ["trust_bundle_path", "trust_bundle_url", "trust_bundle_spiffe_workload_api"]
                    .iter()
                    .any(|key| problems.concern(&format!("agent.{key}")));
            if !is_explained {
                let cause = Cause::MissingUnless {
                    what: "trust_bundle_path, trust_bundle_url, or trust_bundle_spiffe_workload_api",
                    unless: "insecure_bootstrap",
                };
                problems.push("agent.trust_bundle_path", None, cause);
            }
            None
        }
    }
}

/// The workloads' socket and the admin's, which workloads must not be able to reach.
fn sockets(agent: &RawAgentBlock, problems: &mut Problems) -> Option<(PathBuf, Option<PathBuf>)> {
    let workload = match &agent.socket_path {
        Some(path) => socket_path(&path.value, Some(path.origin), "agent.socket_path", problems),
        None => Some(Path::new(default::SOCKET_PATH).to_owned()),
    };
    let Some(admin) = &agent.admin_socket_path else {
        return Some((workload?, None));
    };
    let path = "agent.admin_socket_path";
    let admin_path = socket_path(&admin.value, Some(admin.origin), path, problems)?;
    let workload = workload?;
    if workload.parent().is_some_and(|directory| admin_path.starts_with(directory)) {
        problems.push(path, Some(admin.origin), Cause::AdminSocketExposed);
        return None;
    }
    Some((workload, Some(admin_path)))
}

/// The socket's further names: those that are set, or, for a socket with one of the usual names, the usual
/// ones.
fn alternate_names(
    setting: Option<Setting<Vec<String>>>,
    socket_path: &Path,
    problems: &mut Problems,
) -> Option<Vec<String>> {
    let Some(Setting { value: names, origin }) = setting else {
        let usual = default::ALTERNATE_NAMES;
        let has_usual =
            socket_path.file_name().is_some_and(|own| usual.iter().any(|name| own == *name));
        return Some(if has_usual { usual.map(str::to_owned).into() } else { Vec::new() });
    };
    let is_name = |name: &String| !["", ".", ".."].contains(&name.as_str()) && !name.contains('/');
    if let Some(name) = names.iter().find(|name| !is_name(name)) {
        let path = "agent.socket_alternate_names";
        problems.push(path, Some(origin), Cause::NotAFileName { name: name.clone() });
        return None;
    }
    Some(names)
}

/// How many SVIDs the cache keeps; 0 is the default, as in SPIRE.
fn cache_size(size: Option<Setting<i64>>, problems: &mut Problems) -> Option<usize> {
    let Some(size) = size.filter(|size| size.value != 0) else {
        return Some(default::X509_SVID_CACHE_MAX_SIZE);
    };
    let fits = usize::try_from(size.value).ok();
    fits.or_else(|| out_of_range("agent.x509_svid_cache_max_size", "0 or more", &size, problems))
}

fn limits(raw: &RawLimits, problems: &mut Problems) -> Option<Limits> {
    let mut limit = |chosen: &Option<Setting<i64>>, path: &str, usual: usize| {
        let Some(chosen) = chosen else { return Some(usual) };
        let fits = usize::try_from(chosen.value).ok().filter(|limit| (1..=65_536).contains(limit));
        fits.or_else(|| out_of_range(path, "1 to 65536", chosen, problems))
    };
    let usual = Limits::default();
    let connections = limit(&raw.connections, "agent.limits.connections", usual.connections);
    let path = "agent.limits.connections_per_process";
    let per_process = limit(&raw.connections_per_process, path, usual.per_process);
    Some(Limits { connections: connections?, per_process: per_process? })
}

/// Reports a number that does not fit; nothing comes of it.
fn out_of_range<T>(
    path: &str,
    expected: &'static str,
    found: &Setting<i64>,
    problems: &mut Problems,
) -> Option<T> {
    let cause = Cause::Range { path: path.to_owned(), expected, found: found.value };
    problems.push(path, Some(found.origin), cause);
    None
}

fn sds(raw: RawSds, warnings: &mut Vec<Warning>) -> Sds {
    let default_bundle_name = raw.default_bundle_name.map(|name| name.value);
    let default_all_bundles_name = raw.default_all_bundles_name.map(|name| name.value);
    let bundle_name = default_bundle_name.as_deref().unwrap_or(default::BUNDLE_NAME);
    let all_bundles_name = default_all_bundles_name.as_deref().unwrap_or(default::ALL_BUNDLES_NAME);
    if bundle_name == all_bundles_name {
        warnings.push(Warning::SameBundleNames);
    }
    let is_standard = raw.disable_spiffe_cert_validation.is_some_and(|disable| disable.value);
    Sds {
        default_svid_name: raw
            .default_svid_name
            .map_or_else(|| default::SVID_NAME.to_owned(), |name| name.value),
        default_bundle_name,
        default_all_bundles_name,
        validation: if is_standard {
            CertificateValidation::Standard
        } else {
            CertificateValidation::Spiffe
        },
    }
}

type PluginConfigs = (NodeAttestor, KeyManager, Vec<WorkloadAttestor>);

fn validate_plugins(
    raw: Option<RawPlugins>,
    join_token: Option<JoinToken>,
    problems: &mut Problems,
    warnings: &mut Vec<Warning>,
) -> Option<PluginConfigs> {
    let Some(raw) = raw else {
        problems.push("plugins", None, Cause::Missing { what: "plugins section" });
        return None;
    };
    let node_attestor = raw
        .node_attestors
        .exactly_one(problems)
        .and_then(|raw| validate_node_attestor(raw, join_token, problems));
    let key_manager = raw.key_managers.exactly_one(problems).and_then(|raw| match raw {
        RawKeyManager::Memory => Some(KeyManager::Memory),
        RawKeyManager::Disk { directory } => {
            let path = "plugins.KeyManager.disk.plugin_data.directory";
            let what = "directory of KeyManager \"disk\"";
            problems.require(directory, path, what).map(|directory| KeyManager::Disk { directory })
        }
    });
    let workload_attestors = raw.workload_attestors.at_least_one(problems);
    let workload_attestors: Vec<_> = workload_attestors
        .into_iter()
        .map(|raw| workload_attestor(raw, problems, warnings))
        .collect();
    // Each is read, so that all that is wrong is told.
    let workload_attestors = workload_attestors.into_iter().collect::<Option<_>>();
    Some((node_attestor?, key_manager?, workload_attestors?))
}

fn workload_attestor(
    raw: RawWorkloadAttestor,
    problems: &mut Problems,
    warnings: &mut Vec<Warning>,
) -> Option<WorkloadAttestor> {
    match raw {
        RawWorkloadAttestor::Unix { discover_workload_path, workload_size_limit } => {
            let executable = executable(discover_workload_path, workload_size_limit);
            Some(WorkloadAttestor::Unix { executable })
        }
        RawWorkloadAttestor::K8s(raw) => {
            raw.validate(problems, warnings).map(WorkloadAttestor::K8s)
        }
    }
}

/// A join token that is given goes before the plugin (SPIRE 1.15: agent.go).
fn validate_node_attestor(
    raw: RawNodeAttestor,
    join_token: Option<JoinToken>,
    problems: &mut Problems,
) -> Option<NodeAttestor> {
    match raw {
        RawNodeAttestor::JoinToken => Some(NodeAttestor::JoinToken(join_token)),
        RawNodeAttestor::K8sPsat { cluster, token_path } => {
            let path = "plugins.NodeAttestor.k8s_psat.plugin_data.cluster";
            let what = "cluster of NodeAttestor \"k8s_psat\"";
            let cluster = problems.require(cluster, path, what)?;
            let token_path =
                token_path.map_or_else(|| default::PSAT_TOKEN_PATH.into(), |path| path.value);
            Some(match join_token {
                Some(token) => NodeAttestor::JoinToken(Some(token)),
                None => NodeAttestor::K8sPsat { cluster, token_path },
            })
        }
    }
}

/// SPIRE's size limit is one number: 0 hashes everything, below 0 nothing.
fn executable(discover: Option<Setting<bool>>, limit: Option<Setting<i64>>) -> Executable {
    let discovers = discover.is_some_and(|discover| discover.value);
    let limit = limit.map_or(0, |limit| limit.value);
    match (discovers, u64::try_from(limit)) {
        (false, _) => Executable::Ignored,
        (true, Err(_)) => Executable::Path,
        (true, Ok(0)) => Executable::PathAndHash { max_bytes: None },
        (true, Ok(max_bytes)) => Executable::PathAndHash { max_bytes: Some(max_bytes) },
    }
}
