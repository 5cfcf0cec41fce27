//! The server's configuration file as a table: its keys, their types, and SPIRE's keys that are not supported yet.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::listen::{RawHealthChecks, RawTelemetry};
use crate::config::log::RawLog;
use crate::config::plugin::{self, Kind, Plugins};
use crate::config::{Idle, Problems, Section, Setting, Unsupported, value};
use crate::spiffe::TrustDomain;
use crate::x509::key::KeyType;

use super::bundle_maps::{RawNotified, RawPublished};
use super::federation::RawFederation;
use super::flags::Overrides;
use super::psat::RawCluster;

/// The whole file.
#[derive(Debug)]
pub(super) struct RawServer {
    pub(super) server: RawServerBlock,
    pub(super) plugins: Option<RawPlugins>,
    pub(super) telemetry: RawTelemetry,
    pub(super) health_checks: RawHealthChecks,
}

/// The `server` block.
#[derive(Debug)]
pub(super) struct RawServerBlock {
    pub(super) bind_address: Option<Setting<String>>,
    pub(super) bind_port: Option<Setting<i64>>,
    pub(super) socket_path: Option<Setting<PathBuf>>,
    pub(super) trust_domain: Option<Setting<TrustDomain>>,
    pub(super) data_dir: Option<Setting<PathBuf>>,
    pub(super) log: RawLog,
    pub(super) ca_ttl: Option<Setting<Duration>>,
    pub(super) ca_key_type: Option<Setting<KeyType>>,
    pub(super) ca_subject: Option<RawCaSubject>,
    pub(super) default_x509_svid_ttl: Option<Setting<Duration>>,
    pub(super) agent_ttl: Option<Setting<Duration>>,
    pub(super) ratelimit: RawRateLimit,
    pub(super) federation: RawFederation,
    pub(super) jwt: RawJwt,
}

/// What a file says of JWT-SVIDs, which finial does not issue yet.
#[derive(Debug)]
pub(super) struct RawJwt {
    pub(super) issuer: Option<Setting<String>>,
    pub(super) key_type: Option<Setting<KeyType>>,
    pub(super) default_ttl: Option<Setting<Duration>>,
    pub(super) disabled: Option<Setting<bool>>,
}

/// The `ca_subject` block.
#[derive(Debug)]
pub(super) struct RawCaSubject {
    pub(super) country: Option<Setting<Vec<String>>>,
    pub(super) organization: Option<Setting<Vec<String>>>,
    pub(super) common_name: Option<Setting<String>>,
}

/// The `ratelimit` block.
#[derive(Debug)]
pub(super) struct RawRateLimit {
    pub(super) attestation: Option<Setting<bool>>,
    pub(super) signing: Option<Setting<bool>>,
}

/// The `plugins` block.
#[derive(Debug)]
pub(super) struct RawPlugins {
    pub(super) data_stores: Plugins<RawDataStore>,
    pub(super) key_managers: Plugins<RawKeyManager>,
    pub(super) node_attestors: Plugins<RawNodeAttestor>,
    pub(super) notifiers: Plugins<RawNotified>,
    pub(super) bundle_publishers: Plugins<Vec<RawPublished>>,
}

/// The data of `DataStore "sql"`.
#[derive(Debug)]
pub(super) struct RawDataStore {
    pub(super) database_type: Option<Setting<DatabaseType>>,
    pub(super) connection_string: Option<Setting<String>>,
}

/// The databases that exist, of which finial has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DatabaseType {
    Sqlite3,
}

/// The data of a `KeyManager`.
#[derive(Debug)]
pub(super) enum RawKeyManager {
    Disk {
        keys_path: Option<Setting<PathBuf>>,
    },
    K8sSecret {
        namespace: Option<Setting<String>>,
        secret_name: Option<Setting<String>>,
        kube_config_file_path: Option<Setting<PathBuf>>,
    },
    Memory,
}

/// The data of a `NodeAttestor`.
#[derive(Debug)]
pub(super) enum RawNodeAttestor {
    JoinToken,
    K8sPsat { clusters: Vec<RawCluster> },
}

impl RawServer {
    pub(super) fn read(file: &mut Section<'_, '_>) -> Self {
        Self {
            server: file.table("server", RawServerBlock::read),
            plugins: file.section("plugins", RawPlugins::read),
            telemetry: file.table("telemetry", RawTelemetry::read),
            health_checks: file.table("health_checks", RawHealthChecks::read),
        }
    }

    /// Puts the flags over the file.
    pub(super) fn overlay(mut self, flags: &Overrides, problems: &mut Problems) -> Self {
        let server = &mut self.server;
        problems.overlay(
            &mut server.bind_address,
            ("server.bind_address", "-bindAddress"),
            flags.bind_address.as_deref(),
            value::string,
        );
        problems.overlay(
            &mut server.bind_port,
            ("server.bind_port", "-serverPort"),
            flags.server_port.as_deref(),
            value::integer,
        );
        problems.overlay(
            &mut server.socket_path,
            ("server.socket_path", "-socketPath"),
            flags.socket_path.as_deref(),
            value::path,
        );
        problems.overlay(
            &mut server.trust_domain,
            ("server.trust_domain", "-trustDomain"),
            flags.trust_domain.as_deref(),
            value::trust_domain,
        );
        problems.overlay(
            &mut server.data_dir,
            ("server.data_dir", "-dataDir"),
            flags.data_dir.as_deref(),
            value::path,
        );
        server.log.overlay("server", &flags.log, problems);
        self
    }
}

impl RawServerBlock {
    fn read(server: &mut Section<'_, '_>) -> Self {
        server.unsupported(UNSUPPORTED);
        server.table("experimental", |experimental| {
            experimental.unsupported(UNSUPPORTED_EXPERIMENTAL);
        });
        Self {
            bind_address: server.text("bind_address", value::string),
            bind_port: server.integer("bind_port"),
            socket_path: server.text("socket_path", value::path),
            trust_domain: server.text("trust_domain", value::trust_domain),
            data_dir: server.text("data_dir", value::path),
            log: RawLog::read(server),
            ca_ttl: server.text("ca_ttl", value::lifetime),
            ca_key_type: server.text("ca_key_type", |text| value::choice(text, KEY_TYPES)),
            ca_subject: server.section("ca_subject", RawCaSubject::read),
            default_x509_svid_ttl: server.text("default_x509_svid_ttl", value::lifetime),
            agent_ttl: server.text("agent_ttl", value::lifetime),
            ratelimit: server.table("ratelimit", RawRateLimit::read),
            federation: server.table("federation", RawFederation::read),
            jwt: RawJwt::read(server),
        }
    }
}

impl RawJwt {
    fn read(server: &mut Section<'_, '_>) -> Self {
        Self {
            issuer: server.text("jwt_issuer", value::string),
            key_type: server.text("jwt_key_type", |text| value::choice(text, KEY_TYPES)),
            default_ttl: server.text("default_jwt_svid_ttl", value::lifetime),
            disabled: server.boolean("disable_jwt_svids"),
        }
    }
}

impl RawCaSubject {
    fn read(subject: &mut Section<'_, '_>) -> Self {
        Self {
            country: subject.texts("country"),
            organization: subject.texts("organization"),
            common_name: subject.text("common_name", value::string),
        }
    }
}

impl RawRateLimit {
    fn read(ratelimit: &mut Section<'_, '_>) -> Self {
        Self {
            attestation: ratelimit.boolean("attestation"),
            signing: ratelimit.boolean("signing"),
        }
    }
}

impl RawPlugins {
    fn read(plugins: &mut Section<'_, '_>) -> Self {
        for kind in ["CredentialComposer", "UpstreamAuthority"] {
            plugin::refuse_kind(plugins, kind);
        }
        Self {
            data_stores: DATA_STORES.read(plugins),
            key_managers: KEY_MANAGERS.read(plugins),
            node_attestors: NODE_ATTESTORS.read(plugins),
            notifiers: NOTIFIERS.read(plugins),
            bundle_publishers: BUNDLE_PUBLISHERS.read(plugins),
        }
    }
}

impl RawDataStore {
    fn read(data: &mut Section<'_, '_>) -> Self {
        data.unsupported(&[
            ("ro_connection_string", Idle::Unset),
            ("root_ca_path", Idle::Unset),
            ("client_cert_path", Idle::Unset),
            ("client_key_path", Idle::Unset),
            // Of connections to a database elsewhere: the one file has one.
            ("conn_max_lifetime", Idle::Always),
            ("max_open_conns", Idle::Always),
            ("max_idle_conns", Idle::Always),
            ("disable_migration", Idle::At("false")),
            ("log_sql", Idle::At("false")),
        ]);
        Self {
            database_type: data.text("database_type", database_type),
            connection_string: data.text("connection_string", value::string),
        }
    }
}

fn database_type(text: &str) -> Result<DatabaseType, value::Error> {
    value::supported_choice(
        text,
        &[("sqlite3", DatabaseType::Sqlite3)],
        &["postgres", "mysql", "aws_postgres", "aws_mysql"],
    )
}

const KEY_TYPES: &[(&str, KeyType)] = &[
    ("rsa-2048", KeyType::Rsa2048),
    ("rsa-4096", KeyType::Rsa4096),
    ("ec-p256", KeyType::EcP256),
    ("ec-p384", KeyType::EcP384),
];

const DATA_STORES: Kind<RawDataStore> =
    Kind { name: "DataStore", built_in: &[("sql", RawDataStore::read)], unsupported: &[] };

const KEY_MANAGERS: Kind<RawKeyManager> = Kind {
    name: "KeyManager",
    built_in: &[
        ("disk", |data| RawKeyManager::Disk { keys_path: data.text("keys_path", value::path) }),
        // Finial's own: SPIRE has none such.
        ("k8s_secret", |data| RawKeyManager::K8sSecret {
            namespace: data.text("namespace", value::string),
            secret_name: data.text("secret_name", value::string),
            kube_config_file_path: data.text("kube_config_file_path", value::path),
        }),
        ("memory", |_| RawKeyManager::Memory),
    ],
    unsupported: &["aws_kms", "azure_key_vault", "gcp_kms", "hashicorp_vault"],
};

const NODE_ATTESTORS: Kind<RawNodeAttestor> = Kind {
    name: "NodeAttestor",
    built_in: &[
        ("join_token", |_| RawNodeAttestor::JoinToken),
        ("k8s_psat", |data| RawNodeAttestor::K8sPsat { clusters: RawCluster::read_all(data) }),
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

const NOTIFIERS: Kind<RawNotified> = Kind {
    name: "Notifier",
    built_in: &[("k8sbundle", RawNotified::read)],
    unsupported: &["gcs_bundle"],
};

const BUNDLE_PUBLISHERS: Kind<Vec<RawPublished>> = Kind {
    name: "BundlePublisher",
    built_in: &[("k8s_configmap", RawPublished::read_all)],
    unsupported: &["aws_rolesanywhere_trustanchor", "aws_s3", "azure_blob", "gcp_cloudstorage"],
};

const UNSUPPORTED: &[Unsupported] = &[
    ("admin_ids", Idle::Unset),
    ("audit_log_enabled", Idle::At("false")),
    ("log_source_location", Idle::At("false")),
    ("max_attested_node_info_staleness", Idle::At("0s")),
    ("profiling_enabled", Idle::At("false")),
    ("profiling_freq", Idle::Always),
    ("profiling_names", Idle::Always),
    ("profiling_port", Idle::Always),
    ("proxy_protocol_trusted_cidrs", Idle::Unset),
    ("prune_attested_nodes_batch_size", Idle::Always),
    ("prune_attested_nodes_expired_for", Idle::Unset),
    ("prune_tofu_nodes", Idle::Always),
];

const UNSUPPORTED_EXPERIMENTAL: &[Unsupported] = &[
    ("agent_spiffe_id_as_selector", Idle::At("false")),
    ("auth_opa_policy_engine", Idle::Unset),
    ("cache_reload_interval", Idle::At("5s")),
    ("event_timeout", Idle::At("15m")),
    ("events_based_cache", Idle::At("false")),
    ("feature_flags", Idle::Unset),
    ("full_cache_reload_interval", Idle::At("24h")),
    ("named_pipe_name", Idle::Unset),
    ("prune_events_older_than", Idle::At("12h")),
    ("require_pq_kem", Idle::At("false")),
    ("sql_transaction_timeout", Idle::Unset),
    ("wit_issuer", Idle::Unset),
    ("wit_key_type", Idle::Unset),
];
