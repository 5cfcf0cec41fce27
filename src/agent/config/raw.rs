//! The agent's configuration file as a table: its keys, their types, and SPIRE's keys that are not supported yet.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::listen::{RawHealthChecks, RawTelemetry};
use crate::config::log::RawLog;
use crate::config::plugin::{self, Kind, Plugins};
use crate::config::secret::Secret;
use crate::config::{Idle, Origin, Problems, Section, Setting, Unsupported, value};
use crate::spiffe::TrustDomain;

use super::flags::Overrides;
use super::k8s::RawK8s;
use super::model::BundleFormat;

/// The whole file.
#[derive(Debug)]
pub(super) struct RawAgent {
    pub(super) agent: RawAgentBlock,
    pub(super) plugins: Option<RawPlugins>,
    pub(super) telemetry: RawTelemetry,
    pub(super) health_checks: RawHealthChecks,
}

/// The `agent` block.
#[derive(Debug)]
pub(super) struct RawAgentBlock {
    pub(super) data_dir: Option<Setting<PathBuf>>,
    pub(super) log: RawLog,
    pub(super) server_address: Option<Setting<String>>,
    pub(super) server_port: Option<Setting<i64>>,
    pub(super) socket_path: Option<Setting<PathBuf>>,
    /// finial's own.
    pub(super) socket_alternate_names: Option<Setting<Vec<String>>>,
    pub(super) admin_socket_path: Option<Setting<PathBuf>>,
    pub(super) trust_bundle_path: Option<Setting<PathBuf>>,
    pub(super) trust_bundle_format: Option<Setting<BundleFormat>>,
    pub(super) insecure_bootstrap: Option<Setting<bool>>,
    pub(super) trust_domain: Option<Setting<TrustDomain>>,
    pub(super) join_token: Option<Setting<Secret>>,
    pub(super) join_token_file: Option<Setting<PathBuf>>,
    pub(super) x509_svid_cache_max_size: Option<Setting<i64>>,
    pub(super) sds: RawSds,
    pub(super) sync_interval: Option<Setting<Duration>>,
    pub(super) limits: RawLimits,
}

/// The `limits` block, finial's own.
#[derive(Debug)]
pub(super) struct RawLimits {
    pub(super) connections: Option<Setting<i64>>,
    pub(super) connections_per_process: Option<Setting<i64>>,
}

/// The `sds` block.
#[derive(Debug)]
pub(super) struct RawSds {
    pub(super) default_svid_name: Option<Setting<String>>,
    pub(super) default_bundle_name: Option<Setting<String>>,
    pub(super) default_all_bundles_name: Option<Setting<String>>,
    pub(super) disable_spiffe_cert_validation: Option<Setting<bool>>,
}

/// The `plugins` block.
#[derive(Debug)]
pub(super) struct RawPlugins {
    pub(super) node_attestors: Plugins<RawNodeAttestor>,
    pub(super) key_managers: Plugins<RawKeyManager>,
    pub(super) workload_attestors: Plugins<RawWorkloadAttestor>,
}

/// The data of a `NodeAttestor`.
#[derive(Debug)]
pub(super) enum RawNodeAttestor {
    JoinToken,
    K8sPsat { cluster: Option<Setting<String>>, token_path: Option<Setting<PathBuf>> },
}

/// The data of a `KeyManager`.
#[derive(Debug)]
pub(super) enum RawKeyManager {
    Disk { directory: Option<Setting<PathBuf>> },
    Memory,
}

/// The data of a `WorkloadAttestor`.
#[derive(Debug)]
pub(super) enum RawWorkloadAttestor {
    Unix {
        discover_workload_path: Option<Setting<bool>>,
        workload_size_limit: Option<Setting<i64>>,
    },
    K8s(Box<RawK8s>),
}

impl RawAgent {
    pub(super) fn read(file: &mut Section<'_, '_>) -> Self {
        Self {
            agent: file.table("agent", RawAgentBlock::read),
            plugins: file.section("plugins", RawPlugins::read),
            telemetry: file.table("telemetry", RawTelemetry::read),
            health_checks: file.table("health_checks", RawHealthChecks::read),
        }
    }

    /// Puts the flags over the file.
    pub(super) fn overlay(mut self, flags: &Overrides, problems: &mut Problems) -> Self {
        let agent = &mut self.agent;
        agent.overlay_paths(flags, problems);
        agent.log.overlay("agent", &flags.log, problems);
        problems.overlay(
            &mut agent.server_address,
            ("agent.server_address", "-serverAddress"),
            flags.server_address.as_deref(),
            value::string,
        );
        problems.overlay(
            &mut agent.server_port,
            ("agent.server_port", "-serverPort"),
            flags.server_port.as_deref(),
            value::integer,
        );
        problems.overlay(
            &mut agent.trust_domain,
            ("agent.trust_domain", "-trustDomain"),
            flags.trust_domain.as_deref(),
            value::trust_domain,
        );
        problems.overlay(
            &mut agent.trust_bundle_format,
            ("agent.trust_bundle_format", "-trustBundleFormat"),
            flags.trust_bundle_format.as_deref(),
            bundle_format,
        );
        if let Some(token) = flags.join_token.clone().filter(|token| !token.expose().is_empty()) {
            let origin = Origin::Flag("-joinToken");
            agent.join_token = Some(Setting { value: token, origin });
        }
        if let Some(value) = flags.insecure_bootstrap {
            let origin = Origin::Flag("-insecureBootstrap");
            agent.insecure_bootstrap = Some(Setting { value, origin });
        }
        self
    }
}

impl RawAgentBlock {
    fn overlay_paths(&mut self, flags: &Overrides, problems: &mut Problems) {
        problems.overlay(
            &mut self.data_dir,
            ("agent.data_dir", "-dataDir"),
            flags.data_dir.as_deref(),
            value::path,
        );
        problems.overlay(
            &mut self.join_token_file,
            ("agent.join_token_file", "-joinTokenFile"),
            flags.join_token_file.as_deref(),
            value::path,
        );
        problems.overlay(
            &mut self.socket_path,
            ("agent.socket_path", "-socketPath"),
            flags.socket_path.as_deref(),
            value::path,
        );
        problems.overlay(
            &mut self.trust_bundle_path,
            ("agent.trust_bundle_path", "-trustBundle"),
            flags.trust_bundle.as_deref(),
            value::path,
        );
    }

    fn read(agent: &mut Section<'_, '_>) -> Self {
        agent.unsupported(UNSUPPORTED);
        agent.text("workload_x509_svid_key_type", workload_key_type);
        agent.text("rebootstrap_mode", rebootstrap_mode);
        Self {
            data_dir: agent.text("data_dir", value::path),
            log: RawLog::read(agent),
            server_address: agent.text("server_address", value::string),
            server_port: agent.integer("server_port"),
            socket_path: agent.text("socket_path", value::path),
            socket_alternate_names: agent.texts("socket_alternate_names"),
            admin_socket_path: agent.text("admin_socket_path", value::path),
            trust_bundle_path: agent.text("trust_bundle_path", value::path),
            trust_bundle_format: agent.text("trust_bundle_format", bundle_format),
            insecure_bootstrap: agent.boolean("insecure_bootstrap"),
            trust_domain: agent.text("trust_domain", value::trust_domain),
            join_token: agent.text("join_token", value::secret),
            join_token_file: agent.text("join_token_file", value::path),
            x509_svid_cache_max_size: agent.integer("x509_svid_cache_max_size"),
            sds: agent.table("sds", RawSds::read),
            sync_interval: agent.table("experimental", |experimental| {
                experimental.unsupported(UNSUPPORTED_EXPERIMENTAL);
                experimental.text("sync_interval", value::interval)
            }),
            limits: agent.table("limits", |limits| RawLimits {
                connections: limits.integer("connections"),
                connections_per_process: limits.integer("connections_per_process"),
            }),
        }
    }
}

impl RawSds {
    fn read(sds: &mut Section<'_, '_>) -> Self {
        Self {
            default_svid_name: sds.text("default_svid_name", value::string),
            default_bundle_name: sds.text("default_bundle_name", value::string),
            default_all_bundles_name: sds.text("default_all_bundles_name", value::string),
            disable_spiffe_cert_validation: sds.boolean("disable_spiffe_cert_validation"),
        }
    }
}

impl RawPlugins {
    fn read(plugins: &mut Section<'_, '_>) -> Self {
        plugin::refuse_kind(plugins, "SVIDStore");
        Self {
            node_attestors: NODE_ATTESTORS.read(plugins),
            key_managers: KEY_MANAGERS.read(plugins),
            workload_attestors: WORKLOAD_ATTESTORS.read(plugins),
        }
    }
}

fn bundle_format(text: &str) -> Result<BundleFormat, value::Error> {
    value::choice(text, &[("pem", BundleFormat::Pem), ("spiffe", BundleFormat::Spiffe)])
}

/// An operator's new bundle file counts at once when the server is refused, in every mode, and the agent
/// goes on: there is no process to end and nothing to wait for.
fn rebootstrap_mode(text: &str) -> Result<(), value::Error> {
    value::choice(text, &[("never", ()), ("auto", ()), ("always", ())])
}

/// Workload keys are P-256; the setting is read so that a file may say so.
fn workload_key_type(text: &str) -> Result<(), value::Error> {
    value::supported_choice(text, &[("ec-p256", ())], &["ec-p384", "rsa-2048"])
}

const NODE_ATTESTORS: Kind<RawNodeAttestor> = Kind {
    name: "NodeAttestor",
    built_in: &[
        ("join_token", |_| RawNodeAttestor::JoinToken),
        ("k8s_psat", |data| RawNodeAttestor::K8sPsat {
            cluster: data.text("cluster", value::string),
            token_path: data.text("token_path", value::path),
        }),
    ],
    unsupported: &[
        "aws_iid",
        "azure_imds",
        "azure_msi",
        "gcp_iit",
        "http_challenge",
        "sshpop",
        "tpm_devid",
        "x509pop",
    ],
};

const KEY_MANAGERS: Kind<RawKeyManager> = Kind {
    name: "KeyManager",
    built_in: &[
        ("disk", |data| RawKeyManager::Disk { directory: data.text("directory", value::path) }),
        ("memory", |_| RawKeyManager::Memory),
    ],
    unsupported: &[],
};

const WORKLOAD_ATTESTORS: Kind<RawWorkloadAttestor> = Kind {
    name: "WorkloadAttestor",
    built_in: &[
        ("unix", |data| RawWorkloadAttestor::Unix {
            discover_workload_path: data.boolean("discover_workload_path"),
            workload_size_limit: data.integer("workload_size_limit"),
        }),
        ("k8s", |data| RawWorkloadAttestor::K8s(Box::new(RawK8s::read(data)))),
    ],
    unsupported: &["docker", "slurm", "systemd", "windows"],
};

const UNSUPPORTED: &[Unsupported] = &[
    ("allow_unauthenticated_verifiers", Idle::At("false")),
    ("allowed_foreign_jwt_claims", Idle::Unset),
    ("authorized_delegates", Idle::Unset),
    ("availability_target", Idle::Unset),
    ("disable_sds_api", Idle::At("false")),
    ("disable_workload_api", Idle::At("false")),
    ("jwt_svid_cache_max_size", Idle::At("1000")),
    ("log_selectors", Idle::Unset),
    ("log_source_location", Idle::At("false")),
    ("profiling_enabled", Idle::At("false")),
    ("profiling_freq", Idle::Always),
    ("profiling_names", Idle::Always),
    ("profiling_port", Idle::Always),
    ("rebootstrap_delay", Idle::Always),
    ("trust_bundle_spiffe_workload_api", Idle::Unset),
    ("trust_bundle_unix_socket", Idle::Unset),
    ("trust_bundle_url", Idle::Unset),
];

const UNSUPPORTED_EXPERIMENTAL: &[Unsupported] = &[
    ("admin_named_pipe_name", Idle::Unset),
    ("broker", Idle::Unset),
    ("feature_flags", Idle::Unset),
    ("jwt_svid_cache_hit_timeout", Idle::At("30s")),
    ("named_pipe_name", Idle::Unset),
    ("ratelimit", Idle::Unset),
    ("require_pq_kem", Idle::At("false")),
    ("use_sync_authorized_entries", Idle::At("true")),
];
