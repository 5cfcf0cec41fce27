//! The data of the workload attestor `k8s`: how to reach the kubelet, and what of its answer to use.

use super::default;
use super::model::{ContainerSelectors, K8s, KubeletAddress, NodeName};
use crate::{
    config::{Cause, Idle, Origin, Problems, Section, Setting, Unsupported, Warning, value},
    k8s::tls::{Authentication, Verification},
};
use std::{path::PathBuf, time::Duration};

/// The `plugin_data` block, as the file has it.
#[derive(Debug)]
pub(super) struct RawK8s {
    read_only_port: Option<Setting<i64>>,
    secure_port: Option<Setting<i64>>,
    max_poll_attempts: Option<Setting<i64>>,
    poll_retry_interval: Option<Setting<Duration>>,
    kubelet_ca_path: Option<Setting<PathBuf>>,
    skip_kubelet_verification: Option<Setting<bool>>,
    token_path: Option<Setting<PathBuf>>,
    certificate_path: Option<Setting<PathBuf>>,
    private_key_path: Option<Setting<PathBuf>>,
    use_anonymous_authentication: Option<Setting<bool>>,
    node_name_env: Option<Setting<String>>,
    node_name: Option<Setting<String>>,
    disable_container_selectors: Option<Setting<bool>>,
}

/// SPIRE's defaults.
const SECURE_PORT: u16 = 10_250;
const MAX_POLL_ATTEMPTS: u32 = 60;
const POLL_RETRY_INTERVAL: Duration = Duration::from_millis(500);
const CA_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const NODE_NAME_ENV: &str = "MY_NODE_NAME";

const PATH: &str = "plugins.WorkloadAttestor.k8s.plugin_data";

/// What SPIRE's has and this one has not. Files are read anew for each request, so that an interval to
/// do so has nothing to say; which container it is is found in one way only.
const UNSUPPORTED: &[Unsupported] = &[
    ("disable_kubelet_client", Idle::At("false")),
    ("enable_namespace_labels", Idle::At("false")),
    ("experimental", Idle::Unset),
    ("reload_interval", Idle::Always),
    ("sigstore", Idle::Unset),
    ("use_new_container_locator", Idle::At("true")),
    ("verbose_container_locator_logs", Idle::Always),
];

impl RawK8s {
    pub(super) fn read(data: &mut Section<'_, '_>) -> Self {
        data.unsupported(UNSUPPORTED);
        Self {
            read_only_port: data.integer("kubelet_read_only_port"),
            secure_port: data.integer("kubelet_secure_port"),
            max_poll_attempts: data.integer("max_poll_attempts"),
            poll_retry_interval: data.text("poll_retry_interval", value::interval),
            kubelet_ca_path: data.text("kubelet_ca_path", value::path),
            skip_kubelet_verification: data.boolean("skip_kubelet_verification"),
            token_path: data.text("token_path", value::path),
            certificate_path: data.text("certificate_path", value::path),
            private_key_path: data.text("private_key_path", value::path),
            use_anonymous_authentication: data.boolean("use_anonymous_authentication"),
            node_name_env: data.text("node_name_env", value::string),
            node_name: data.text("node_name", value::string),
            disable_container_selectors: data.boolean("disable_container_selectors"),
        }
    }

    pub(super) fn validate(
        self,
        problems: &mut Problems,
        warnings: &mut Vec<Warning>,
    ) -> Option<K8s> {
        let read_only = port(self.read_only_port, "kubelet_read_only_port", problems);
        let secure = port(self.secure_port, "kubelet_secure_port", problems);
        let authentication = Credentials {
            token: self.token_path,
            certificate: self.certificate_path,
            key: self.private_key_path,
            anonymous: self.use_anonymous_authentication,
        }
        .validate(problems);
        let verification = if is_set(self.skip_kubelet_verification.as_ref()) {
            warnings.push(Warning::KubeletUnverified);
            Verification::Skipped
        } else {
            Verification::Authorities(path_or(self.kubelet_ca_path, CA_PATH))
        };
        let node_name = match (self.node_name, self.node_name_env) {
            (Some(name), _) => NodeName::Given(name.value),
            (None, variable) => NodeName::Variable(
                variable.map_or_else(|| NODE_NAME_ENV.to_owned(), |variable| variable.value),
            ),
        };
        let kubelet = match (read_only?, secure?) {
            (Some(_), Some((_, origin))) => {
                let cause = Cause::Exclusive {
                    first: "kubelet_read_only_port",
                    second: "kubelet_secure_port",
                };
                problems.push(format!("{PATH}.kubelet_secure_port"), Some(origin), cause);
                return None;
            }
            (Some((port, _)), None) => {
                warnings.push(Warning::KubeletUnverified);
                KubeletAddress::ReadOnly { port }
            }
            (None, secure) => KubeletAddress::Secure {
                port: secure.map_or(SECURE_PORT, |(port, _)| port),
                node_name,
                verification,
                authentication: authentication?,
            },
        };
        // As in SPIRE, what is not above zero is the default.
        let attempts = self.max_poll_attempts.and_then(|n| u32::try_from(n.value).ok());
        let interval = self.poll_retry_interval.map(|interval| interval.value);
        Some(K8s {
            kubelet,
            max_poll_attempts: attempts.filter(|n| *n > 0).unwrap_or(MAX_POLL_ATTEMPTS),
            poll_retry_interval: interval.unwrap_or(POLL_RETRY_INTERVAL),
            container_selectors: if is_set(self.disable_container_selectors.as_ref()) {
                ContainerSelectors::Omitted
            } else {
                ContainerSelectors::Given
            },
            attest_again_every: default::ATTEST_AGAIN_EVERY,
        })
    }
}

/// Who the agent is to the kubelet.
struct Credentials {
    token: Option<Setting<PathBuf>>,
    certificate: Option<Setting<PathBuf>>,
    key: Option<Setting<PathBuf>>,
    anonymous: Option<Setting<bool>>,
}

impl Credentials {
    /// SPIRE's order: nobody, then a certificate, then a token.
    fn validate(self, problems: &mut Problems) -> Option<Authentication> {
        if is_set(self.anonymous.as_ref()) {
            return Some(Authentication::Anonymous);
        }
        match (self.certificate, self.key) {
            (None, None) => Some(Authentication::Token(path_or(self.token, TOKEN_PATH))),
            (Some(chain), Some(key)) => {
                Some(Authentication::Certificate { chain: chain.value, key: key.value })
            }
            (Some(one), None) => {
                missing(problems, "private_key_path (beside certificate_path)", one.origin)
            }
            (None, Some(one)) => {
                missing(problems, "certificate_path (beside private_key_path)", one.origin)
            }
        }
    }
}

fn missing<T>(problems: &mut Problems, what: &'static str, origin: Origin) -> Option<T> {
    problems.push(PATH, Some(origin), Cause::Missing { what });
    None
}

type Port = Option<(u16, Origin)>;

/// A port, if the file names one; SPIRE takes zero and less for none.
fn port(raw: Option<Setting<i64>>, key: &str, problems: &mut Problems) -> Option<Port> {
    let Some(Setting { value, origin }) = raw.filter(|port| port.value > 0) else {
        return Some(None);
    };
    match u16::try_from(value) {
        Ok(port) => Some(Some((port, origin))),
        Err(_) => {
            let path = format!("{PATH}.{key}");
            let cause = Cause::Range {
                path: path.clone(),
                expected: "a port from 1 to 65535",
                found: value,
            };
            problems.push(path, Some(origin), cause);
            None
        }
    }
}

fn path_or(given: Option<Setting<PathBuf>>, default: &str) -> PathBuf {
    given.map_or_else(|| default.into(), |path| path.value)
}

fn is_set(flag: Option<&Setting<bool>>) -> bool {
    flag.is_some_and(|flag| flag.value)
}
