//! From what the file says to what the controller runs with. Looks at no machine: what the process knows
//! of its surroundings is an argument.

use super::{
    cluster_domain,
    error::ConfigError,
    file::{
        GoDuration, RawController, RawHealth, RawLeaderElection, RawMetrics, RawNamespace,
        RawReconcile,
    },
    model::{ControllerConfig, LeaseConfig, NamespaceScope, WebhookConfig, default},
};
use crate::{
    config::{
        Source,
        listen::HealthChecks,
        log::{Format, Level, Log},
    },
    controller::{
        guard::Limit,
        ownership::Ownership,
        settings::{Acted, AnnotationRule, ClassRule, DEFAULT_PARENT_ID_TEMPLATE, Settings},
        template::{Subject, Template},
    },
    k8s::Access,
    spiffe::TrustDomain,
};
use regex::Regex;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// What the process knows besides the file.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `-spire-api-socket`; empty if not given.
    pub socket_flag: String,
    /// `-kubeconfig`, or the variable `KUBECONFIG`.
    pub kubeconfig: Option<PathBuf>,
    /// The variable `ENABLE_WEBHOOKS`.
    pub enable_webhooks: Option<String>,
    /// The resolver's configuration, which tells the cluster domain.
    pub resolv_conf: String,
    /// `-zap-log-level`.
    pub log_level: Option<String>,
    /// `-zap-encoder`.
    pub log_encoding: Option<String>,
}

/// A configuration that can be used, and what its user should know.
#[derive(Debug)]
pub struct Validated {
    /// What the controller runs with.
    pub config: ControllerConfig,
    /// Keys that were set and do nothing here.
    pub idle: Vec<&'static str>,
}

/// 64 MiB, as everywhere: a page of entries is 1 MiB at most from our server, and 4 MiB from SPIRE's.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
/// By which the objects of a class are told apart without reading them.
const CLASS_LABEL: &str = "spire.spiffe.io/class-name";

impl RawController {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is not YAML, has a key that nobody knows, or a value of another kind.
    pub fn read(source: &Source) -> Result<Self, ConfigError> {
        serde_saphyr::from_str(source.text()).map_err(|error| ConfigError::Yaml {
            path: source.path().to_owned(),
            source: Box::new(error),
        })
    }

    /// Judges every value.
    ///
    /// # Errors
    /// The first one that no controller can work with.
    pub fn validate(self, surroundings: &Surroundings) -> Result<Validated, ConfigError> {
        self.check_kind()?;
        let idle = self.idle();
        let trust_domain = self.trust_domain()?;
        if self.cluster_name.is_empty() {
            return Err(ConfigError::Missing("cluster name"));
        }
        if self.static_manifest_path.is_some() {
            return Err(ConfigError::Unsupported {
                key: "staticManifestPath",
                instead: "create the entries with `finial server entry create -data`",
            });
        }
        let namespaces = self.namespaces()?;
        let config = ControllerConfig {
            settings: self.settings(trust_domain, &namespaces, surroundings)?,
            ownership: self.ownership()?,
            limit: if self.allow_mass_deletes { Limit::Unlimited } else { Limit::Share },
            federations: self.acted(|only| only.cluster_federated_trust_domains),
            label_selector: match (self.filter_by_class_name, self.class_name.as_str()) {
                (true, name) if !name.is_empty() => format!("{CLASS_LABEL}={name}"),
                _ => String::new(),
            },
            namespaces,
            full_pass: self.gc_interval.map_or(default::FULL_PASS, |GoDuration(interval)| interval),
            socket_path: self.socket_path(surroundings),
            max_message_bytes: self.max_message_bytes()?,
            lease: self.leader_election.as_ref().map(lease).transpose()?.flatten(),
            webhook: self.webhook(surroundings)?,
            metrics: listener("metrics.bindAddress", &self.metrics.bind_address)?,
            health: health(&self.health, &self.health_probe)?,
            log: self.log(surroundings)?,
            access: surroundings.kubeconfig.clone().map_or(Access::InCluster, Access::Kubeconfig),
        };
        Ok(Validated { config, idle })
    }

    fn check_kind(&self) -> Result<(), ConfigError> {
        for (key, value, expected) in [
            ("apiVersion", &self.api_version, "spire.spiffe.io/v1alpha1"),
            ("kind", &self.kind, "ControllerManagerConfig"),
        ] {
            if let Some(value) = value
                && value != expected
            {
                return Err(ConfigError::Kind { key, value: value.clone() });
            }
        }
        Ok(())
    }

    /// What is set and changes nothing: there is no cache to size and no lost event to make up for.
    fn idle(&self) -> Vec<&'static str> {
        let keys = [
            ("syncPeriod", self.sync_period.is_some()),
            ("gracefulShutDown", self.graceful_shut_down.is_some()),
            ("controller", self.controller.is_some()),
            ("enableEntryRenderCache", self.enable_entry_render_cache),
            ("entryRenderCacheSize", self.entry_render_cache_size != 0),
            ("expandEnvStaticManifests", self.expand_env_static_manifests),
            ("webhook.certDir", !self.webhook.cert_dir.is_empty()),
        ];
        keys.into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| key).collect()
    }

    fn trust_domain(&self) -> Result<TrustDomain, ConfigError> {
        match self.trust_domain.as_str() {
            "" => Err(ConfigError::Missing("trust domain")),
            name => TrustDomain::parse(name)
                .map_err(|source| ConfigError::TrustDomain { name: name.to_owned(), source }),
        }
    }

    fn settings(
        &self,
        trust_domain: TrustDomain,
        namespaces: &[NamespaceScope],
        surroundings: &Surroundings,
    ) -> Result<Settings, ConfigError> {
        let template = or(&self.parent_id_template, DEFAULT_PARENT_ID_TEMPLATE);
        let cluster_domain = match self.cluster_domain.as_str() {
            "" => cluster_domain::detect(&surroundings.resolv_conf).unwrap_or_default(),
            domain => domain.to_owned(),
        };
        Ok(Settings {
            trust_domain,
            cluster_name: self.cluster_name.as_str().into(),
            cluster_domain: cluster_domain.into(),
            parent_id_template: Template::compile(&template, Subject::Node)
                .map(Arc::new)
                .map_err(|source| ConfigError::ParentTemplate { template, source })?,
            ignore_namespaces: self.ignore_namespaces()?,
            pod_namespaces: namespaces.iter().map(|scope| scope.name.as_str().into()).collect(),
            class: ClassRule {
                class_name: self.class_name.clone(),
                watch_classless: self.watch_classless,
            },
            spiffe_ids: self.acted(|only| only.cluster_spiffe_ids),
            static_entries: self.acted(|only| only.cluster_static_entries),
            annotations: self.annotations()?,
        })
    }

    fn ignore_namespaces(&self) -> Result<Vec<Regex>, ConfigError> {
        let defaults = || default::IGNORE_NAMESPACES.map(str::to_owned).to_vec();
        let patterns = self.ignore_namespaces.clone().unwrap_or_else(defaults);
        let compiled = patterns.into_iter().map(|pattern| {
            Regex::new(&pattern)
                .map_err(|source| ConfigError::Pattern { pattern, source: Box::new(source) })
        });
        compiled.collect()
    }

    /// Without a block of kinds all are acted upon.
    fn acted(&self, of: impl FnOnce(&RawReconcile) -> bool) -> Acted {
        if self.reconcile.as_ref().is_none_or(of) { Acted::Upon } else { Acted::Not }
    }

    fn ownership(&self) -> Result<Ownership, ConfigError> {
        let cleanup = self.entry_id_prefix_cleanup.as_deref();
        if self.entry_id_prefix.is_empty() && cleanup.is_some() {
            return Err(ConfigError::NothingToCleanUp);
        }
        Ok(Ownership::new(&self.entry_id_prefix, cleanup)?)
    }

    fn annotations(&self) -> Result<AnnotationRule, ConfigError> {
        if !self.pod_annotations {
            return Ok(AnnotationRule::default());
        }
        let names = self.pod_annotation_trust_domains.iter().map(|name| {
            TrustDomain::parse_name_or_id(name)
                .map_err(|source| ConfigError::AnnotationTrustDomain { name: name.clone(), source })
        });
        Ok(AnnotationRule { spiffe_id: true, federates_with: names.collect::<Result<_, _>>()? })
    }

    fn namespaces(&self) -> Result<Vec<NamespaceScope>, ConfigError> {
        match (&self.cache_namespaces, self.cache_namespace.as_str()) {
            (Some(_), name) if !name.is_empty() => {
                Err(ConfigError::Both("cacheNamespace", "cacheNamespaces"))
            }
            (Some(scopes), _) => Ok(scopes.iter().map(scope).collect()),
            (None, "") => Ok(Vec::new()),
            (None, name) => {
                Ok(vec![NamespaceScope { name: name.to_owned(), ..NamespaceScope::default() }])
            }
        }
    }

    /// The flag is deprecated: the file wins.
    fn socket_path(&self, surroundings: &Surroundings) -> PathBuf {
        let flag = or(&surroundings.socket_flag, default::SOCKET_PATH);
        let path = or(&self.socket_path, &flag);
        path.strip_prefix("unix://").unwrap_or(&path).into()
    }

    fn max_message_bytes(&self) -> Result<usize, ConfigError> {
        let Some(value) = self.grpc.as_ref().and_then(|grpc| grpc.max_call_recv_msg_size) else {
            return Ok(MAX_MESSAGE_BYTES);
        };
        // gRPC's own default: less could not hold what other clients of the server get.
        usize::try_from(value).ok().filter(|size| *size >= 4 << 20).ok_or(ConfigError::Number {
            key: "grpc.maxCallRecvMsgSize",
            value,
            expected: "a number of bytes of at least 4194304",
        })
    }

    fn webhook(&self, surroundings: &Surroundings) -> Result<Option<WebhookConfig>, ConfigError> {
        if surroundings.enable_webhooks.as_deref() == Some("false") {
            return Ok(None);
        }
        let port = match self.webhook.port {
            None => default::WEBHOOK_PORT,
            Some(value) => u16::try_from(value).map_err(|_| ConfigError::Number {
                key: "webhook.port",
                value,
                expected: "a port",
            })?,
        };
        let host = match self.webhook.host.as_str() {
            "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            host => crate::config::value::listen_address(host).map_err(|_| {
                ConfigError::Address { key: "webhook.host", value: host.to_owned() }
            })?,
        };
        let name = &self.validating_webhook_configuration_name;
        Ok(Some(WebhookConfig {
            bind: SocketAddr::new(host, port),
            configuration: or(name, default::WEBHOOK_CONFIGURATION),
        }))
    }

    fn log(&self, surroundings: &Surroundings) -> Result<Log, ConfigError> {
        let word = |flag: &Option<String>, key: &str| or(flag.as_deref().unwrap_or_default(), key);
        let level = word(&surroundings.log_level, &self.log_level);
        let encoding = word(&surroundings.log_encoding, &self.log_encoding);
        Ok(Log {
            level: match level.to_ascii_lowercase().as_str() {
                "" | "info" => Level::Info,
                "error" | "panic" => Level::Error,
                "warn" | "warning" => Level::Warn,
                "debug" => Level::Debug,
                // zap: any number above zero is a finer debug level.
                number if number.parse::<u8>().is_ok_and(|number| number > 0) => Level::Debug,
                _ => {
                    let expected = "error, warn, info or debug";
                    return Err(ConfigError::Word { key: "logLevel", value: level, expected });
                }
            },
            format: match encoding.as_str() {
                "" | "console" => Format::Text,
                "json" => Format::Json,
                _ => {
                    let (key, expected) = ("logEncoding", "console or json");
                    return Err(ConfigError::Word { key, value: encoding, expected });
                }
            },
            file: None,
        })
    }
}

fn or(value: &str, otherwise: &str) -> String {
    if value.is_empty() { otherwise.to_owned() } else { value.to_owned() }
}

fn scope((name, only): (&String, &Option<RawNamespace>)) -> NamespaceScope {
    let only = only.clone().unwrap_or_default();
    let selector = |pairs: Option<BTreeMap<String, String>>| {
        let pairs = pairs.unwrap_or_default();
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(",")
    };
    NamespaceScope {
        name: name.clone(),
        label_selector: selector(only.label_selectors),
        field_selector: selector(only.field_selectors),
    }
}

fn lease(raw: &RawLeaderElection) -> Result<Option<LeaseConfig>, ConfigError> {
    // Upstream: the block without the key leaves it off.
    if raw.leader_elect != Some(true) {
        return Ok(None);
    }
    if let Some(lock) = &raw.resource_lock
        && lock != "leases"
        && !lock.is_empty()
    {
        let (key, value) = ("leaderElection.resourceLock", lock.clone());
        return Err(ConfigError::Word { key, value, expected: "leases" });
    }
    if raw.resource_name.is_empty() {
        return Err(ConfigError::Missing("leaderElection.resourceName"));
    }
    let or = |given: Option<GoDuration>, otherwise| given.map_or(otherwise, |GoDuration(d)| d);
    let lease = LeaseConfig {
        name: raw.resource_name.clone(),
        namespace: Some(raw.resource_namespace.clone()).filter(|name| !name.is_empty()),
        duration: or(raw.lease_duration, default::LEASE_DURATION),
        renew_deadline: or(raw.renew_deadline, default::RENEW_DEADLINE),
        retry_period: or(raw.retry_period, default::RETRY_PERIOD),
    };
    let fits = lease.duration > lease.renew_deadline
        && lease.renew_deadline > lease.retry_period
        && lease.retry_period > Duration::ZERO
        && lease.duration.subsec_nanos() == 0;
    if fits { Ok(Some(lease)) } else { Err(ConfigError::LeaseTimes) }
}

fn health(raw: &RawHealth, other: &RawMetrics) -> Result<Option<HealthChecks>, ConfigError> {
    let bind = match listener("health.healthProbeBindAddress", &raw.health_probe_bind_address)? {
        None => listener("healthProbe.bindAddress", &other.bind_address)?,
        bind => bind,
    };
    let path = |name: &str, otherwise| format!("/{}", or(name, otherwise).trim_start_matches('/'));
    Ok(bind.map(|bind| HealthChecks {
        bind,
        live_path: path(&raw.liveness_endpoint_name, "healthz"),
        ready_path: path(&raw.readiness_endpoint_name, "readyz"),
    }))
}

/// Without a host: on every IPv4 address. Nothing and `0` are nowhere.
fn listener(key: &'static str, text: &str) -> Result<Option<SocketAddr>, ConfigError> {
    if matches!(text, "" | "0") {
        return Ok(None);
    }
    let wrong = || ConfigError::Address { key, value: text.to_owned() };
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let host = match host {
        "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        host => crate::config::value::listen_address(host).map_err(|_| wrong())?,
    };
    Ok(Some(SocketAddr::new(host, port.parse().map_err(|_| wrong())?)))
}

#[cfg(test)]
mod tests;
