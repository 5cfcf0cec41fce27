//! What SPIRE's server does where a file says nothing.

use std::time::Duration;

use crate::x509::key::KeyType;

/// The file that `run` and `validate` read when no `-config` is given.
pub const CONFIG_PATH: &str = "conf/server/server.conf";
/// Agents reach the server on every interface.
pub const BIND_ADDRESS: &str = "0.0.0.0";
/// The port agents dial.
pub const BIND_PORT: u16 = 8081;
/// The private API's socket.
pub const SOCKET_PATH: &str = "/tmp/spire-server/private/api.sock";
/// A CA's lifetime.
pub const CA_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// The kind of a CA's key.
pub const CA_KEY_TYPE: KeyType = KeyType::EcP256;
/// A workload SVID's lifetime, and an agent's.
pub const X509_SVID_TTL: Duration = Duration::from_secs(60 * 60);
/// Whom the token of a node's agent is for.
pub const PSAT_AUDIENCE: &str = "spire-server";
/// The port of the bundle endpoint that the chart and the quick start use.
pub const BUNDLE_ENDPOINT_PORT: u16 = 8443;
/// How often readers of the bundle endpoint shall look again.
pub const REFRESH_HINT: Duration = Duration::from_secs(5 * 60);
/// The namespace of the ConfigMap that `k8sbundle` writes to.
pub const BUNDLE_NAMESPACE: &str = "spire";
/// That ConfigMap.
pub const BUNDLE_CONFIG_MAP: &str = "spire-bundle";
/// Its key.
pub const BUNDLE_KEY: &str = "bundle.crt";
/// The country of the CA's subject.
pub const CA_SUBJECT_COUNTRY: &str = "US";
/// The organization of the CA's subject.
pub const CA_SUBJECT_ORGANIZATION: &str = "SPIFFE";
