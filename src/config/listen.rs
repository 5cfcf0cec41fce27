//! The HTTP listeners both programs can open, and how an address and a port become one.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Cause, Idle, Origin, Problems, Section, Setting, value};

/// The listener for liveness and readiness probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthChecks {
    /// Where it listens.
    pub bind: SocketAddr,
    /// The liveness path.
    pub live_path: String,
    /// The readiness path.
    pub ready_path: String,
}

/// The listener for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prometheus {
    /// Where it listens.
    pub bind: SocketAddr,
}

/// The `health_checks` block.
#[derive(Debug, Default)]
pub struct RawHealthChecks {
    listener_enabled: Option<Setting<bool>>,
    bind_address: Option<Setting<String>>,
    bind_port: Option<Setting<i64>>,
    live_path: Option<Setting<String>>,
    ready_path: Option<Setting<String>>,
}

impl RawHealthChecks {
    /// Reads the block.
    pub fn read(section: &mut Section<'_, '_>) -> Self {
        Self {
            listener_enabled: section.boolean("listener_enabled"),
            bind_address: section.text("bind_address", value::string),
            bind_port: section.integer("bind_port"),
            live_path: section.text("live_path", value::string),
            ready_path: section.text("ready_path", value::string),
        }
    }

    /// The listener, if it is enabled; SPIRE's defaults are `localhost:80`, `/live` and `/ready`.
    pub fn validate(self, problems: &mut Problems) -> Option<HealthChecks> {
        let endpoint = Endpoint {
            host: self.bind_address,
            default_host: "localhost",
            port: self.bind_port,
            default_port: 80,
            path: "health_checks",
            keys: ("bind_address", "bind_port"),
        };
        let bind = endpoint.validate(problems)?;
        let listener = HealthChecks {
            bind,
            live_path: self.live_path.map_or_else(|| "/live".to_owned(), |path| path.value),
            ready_path: self.ready_path.map_or_else(|| "/ready".to_owned(), |path| path.value),
        };
        self.listener_enabled.is_some_and(|enabled| enabled.value).then_some(listener)
    }
}

/// The `telemetry` block.
#[derive(Debug, Default)]
pub struct RawTelemetry {
    prometheus: Option<RawPrometheus>,
}

#[derive(Debug)]
struct RawPrometheus {
    host: Option<Setting<String>>,
    port: Option<Setting<i64>>,
}

impl RawTelemetry {
    /// Reads the block.
    pub fn read(section: &mut Section<'_, '_>) -> Self {
        let prometheus = section.section("Prometheus", |prometheus| {
            prometheus.unsupported(&[("tls", Idle::Unset)]);
            RawPrometheus {
                host: prometheus.text("host", value::string),
                port: prometheus.integer("port"),
            }
        });
        section.unsupported(&[
            ("DogStatsd", Idle::Unset),
            ("Statsd", Idle::Unset),
            ("M3", Idle::Unset),
            ("InMem", Idle::Unset),
            ("MetricPrefix", Idle::Unset),
            ("EnableTrustDomainLabel", Idle::At("false")),
            ("EnableHostnameLabel", Idle::Unset),
            ("AllowedPrefixes", Idle::Unset),
            ("BlockedPrefixes", Idle::Unset),
            ("AllowedLabels", Idle::Unset),
            ("BlockedLabels", Idle::Unset),
        ]);
        Self { prometheus }
    }

    /// The metrics listener, if one is configured; SPIRE's default host is `localhost`.
    pub fn validate(self, problems: &mut Problems) -> Option<Prometheus> {
        let raw = self.prometheus?;
        if raw.port.is_none() && !problems.concern("telemetry.Prometheus.port") {
            let cause = Cause::Missing { what: "telemetry.Prometheus.port" };
            problems.push("telemetry.Prometheus.port", None, cause);
        }
        let endpoint = Endpoint {
            host: raw.host,
            default_host: "localhost",
            port: raw.port,
            default_port: 9988,
            path: "telemetry.Prometheus",
            keys: ("host", "port"),
        };
        let bind = endpoint.validate(problems)?;
        Some(Prometheus { bind })
    }
}

/// A host and a port that together are where something listens.
#[derive(Debug)]
pub struct Endpoint {
    /// The host that was set.
    pub host: Option<Setting<String>>,
    /// The host if none was.
    pub default_host: &'static str,
    /// The port that was set.
    pub port: Option<Setting<i64>>,
    /// The port if none was.
    pub default_port: u16,
    /// The block both stand in.
    pub path: &'static str,
    /// Their keys in it.
    pub keys: (&'static str, &'static str),
}

impl Endpoint {
    /// The address, unless one of the two is wrong.
    pub fn validate(self, problems: &mut Problems) -> Option<SocketAddr> {
        let (host_key, port_key) = self.keys;
        let port = match self.port {
            Some(setting) => port(&setting, &format!("{}.{port_key}", self.path), problems),
            None => Some(self.default_port),
        };
        let (host, origin) = match self.host {
            Some(host) => (host.value, Some(host.origin)),
            None => (self.default_host.to_owned(), None),
        };
        let address = match value::listen_address(&host) {
            Ok(address) => Some(address),
            Err(error) => {
                let path = format!("{}.{host_key}", self.path);
                problems.push(path, origin, Cause::Host { host, error });
                None
            }
        };
        Some(SocketAddr::new(address?, port?))
    }
}

/// A port somebody chose; 0 would be one that nobody can find.
pub fn port(setting: &Setting<i64>, path: &str, problems: &mut Problems) -> Option<u16> {
    let port = u16::try_from(setting.value).ok().filter(|port| *port > 0);
    if port.is_none() {
        let cause = Cause::Range {
            path: path.to_owned(),
            expected: "a port from 1 to 65535",
            found: setting.value,
        };
        problems.push(path, Some(setting.origin), cause);
    }
    port
}

/// A socket's path from the root, if the system can bind to it.
pub fn socket_path(
    path: &std::path::Path,
    origin: Option<Origin>,
    key: &str,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let path = value::absolute(path);
    let length = path.as_os_str().len();
    if length > value::MAX_SOCKET_PATH {
        problems.push(key, origin, Cause::SocketPathTooLong { path, length });
        return None;
    }
    Some(path)
}
