//! The configuration of an Envoy that gets its identity as a sidecar of Istio does: the static
//! cluster `sds-grpc`, `default` and `ROOTCA` on a stream each, and a peer known by its SPIFFE ID
//! (istio-envoy.md §3 and §18, field by field). Text in, text out; starts nothing.

use crate::spiffe::SpiffeId;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// An Envoy that talks mTLS with one peer, or asks for secrets only.
#[derive(Clone, Debug)]
pub struct Sidecar {
    /// Names its node, as `web` in `sidecar~127.0.0.1~web.default~…`.
    pub name: String,
    /// The agent's socket.
    pub sds_socket: PathBuf,
    /// Which protocol variant it speaks there.
    pub sds_api: SdsApi,
    /// Where its own admin interface listens: a socket file, so that nobody else on the machine can
    /// reach it and no port can be taken already.
    pub admin_socket: PathBuf,
    /// The side of the connection that it is.
    pub part: Part,
    /// Whom it talks to, exactly.
    pub peer: SpiffeId,
    /// Names that it asks for besides, as Istio does with `file-root:system` (istio-envoy.md §3).
    pub foreign_names: Vec<String>,
}

/// The two sides of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Answers every request with 200 itself.
    Server {
        /// Where it accepts mTLS.
        mesh: SocketAddr,
    },
    /// Passes plain requests on over mTLS, each on a new connection with a full handshake.
    Client {
        /// Where it accepts plain requests.
        plain: SocketAddr,
        /// Where the server is.
        mesh: SocketAddr,
    },
}

/// How an Envoy asks for secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SdsApi {
    /// State of the world, as Istio has it.
    #[default]
    Grpc,
    /// Delta, as hand-written configurations may have it.
    DeltaGrpc,
}

/// The name that statistics of the server's listener carry.
pub const LISTENER: &str = "mesh";
/// The client's cluster that leads to the server.
pub const CLUSTER: &str = "up";

/// Istio's patience with the agent.
const FOR_EVER: &str = "0s";
/// What `@type` of a TLS context starts with.
const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";

impl Sidecar {
    /// The bootstrap as JSON, which Envoy reads as it reads YAML.
    #[must_use]
    pub fn bootstrap(&self) -> Value {
        let (listeners, upstream) = match self.part {
            Part::Server { mesh } => (vec![self.mesh_listener(mesh)], None),
            Part::Client { plain, mesh } => (vec![plain_listener(plain)], Some(self.cluster(mesh))),
        };
        let foreign = self.foreign_names.iter().map(|name| self.foreign_cluster(name));
        let clusters: Vec<Value> =
            [self.sds_cluster()].into_iter().chain(upstream).chain(foreign).collect();
        json!({
            "node": {
                "id": format!("sidecar~127.0.0.1~{0}.default~default.svc.cluster.local", self.name),
                "cluster": format!("{}.default", self.name),
            },
            "admin": { "address": pipe(&self.admin_socket) },
            "static_resources": { "listeners": listeners, "clusters": clusters },
        })
    }

    fn sds_cluster(&self) -> Value {
        json!({
            "name": "sds-grpc",
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": http2(&json!({})),
            "load_assignment": endpoint("sds-grpc", &pipe(&self.sds_socket)),
        })
    }

    fn mesh_listener(&self, address: SocketAddr) -> Value {
        json!({
            "name": LISTENER,
            "stat_prefix": LISTENER,
            "address": tcp(address),
            "filter_chains": [{
                "filters": [http_filter(&json!({
                    "match": { "prefix": "/" },
                    "direct_response": { "status": 200, "body": { "inline_string": "ok\n" } },
                }))],
                "transport_socket": {
                    "name": "envoy.transport_sockets.tls",
                    "typed_config": {
                        "@type": format!("{TLS}.DownstreamTlsContext"),
                        "require_client_certificate": true,
                        // Each handshake must check the peer: resumption would skip it.
                        "disable_stateless_session_resumption": true,
                        "disable_stateful_session_resumption": true,
                        "common_tls_context": self.tls_context(),
                    },
                },
            }],
        })
    }

    fn cluster(&self, address: SocketAddr) -> Value {
        json!({
            "name": CLUSTER,
            "type": "STATIC",
            "connect_timeout": "5s",
            "typed_extension_protocol_options": http2(&json!({ "max_requests_per_connection": 1 })),
            "load_assignment": endpoint(CLUSTER, &tcp(address)),
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": format!("{TLS}.UpstreamTlsContext"),
                    "max_session_keys": 0,
                    "common_tls_context": self.tls_context(),
                },
            },
        })
    }

    fn tls_context(&self) -> Value {
        json!({
            // As Istio: Envoy's own default for clients ends at TLS 1.2.
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_2",
                "tls_maximum_protocol_version": "TLSv1_3",
            },
            "alpn_protocols": ["h2"],
            "tls_certificate_sds_secret_configs": [self.secret("default", FOR_EVER)],
            "combined_validation_context": {
                "default_validation_context": {
                    "match_typed_subject_alt_names": [{
                        "san_type": "URI",
                        "matcher": { "exact": self.peer.as_str() },
                    }],
                },
                "validation_context_sds_secret_config": self.secret("ROOTCA", FOR_EVER),
            },
        })
    }

    /// Where a secret comes from, and how long the start of what needs it is held up.
    fn secret(&self, name: &str, initial_fetch_timeout: &str) -> Value {
        let api_type = match self.sds_api {
            SdsApi::Grpc => "GRPC",
            SdsApi::DeltaGrpc => "DELTA_GRPC",
        };
        json!({
            "name": name,
            "sds_config": {
                "resource_api_version": "V3",
                "initial_fetch_timeout": initial_fetch_timeout,
                "api_config_source": {
                    "api_type": api_type,
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": true,
                    "grpc_services": [{ "envoy_grpc": { "cluster_name": "sds-grpc" } }],
                },
            },
        })
    }

    /// A cluster that nobody uses and that wants a secret which is not ours. Istio adds such clusters
    /// to a running proxy; here the wait for it is kept short, so that the start is not held up.
    fn foreign_cluster(&self, name: &str) -> Value {
        let secret = self.secret(name, "0.2s");
        let nowhere = tcp(SocketAddr::from(([127, 0, 0, 1], 9)));
        json!({
            "name": name,
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": endpoint(name, &nowhere),
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": format!("{TLS}.UpstreamTlsContext"),
                    "common_tls_context": { "validation_context_sds_secret_config": secret },
                },
            },
        })
    }
}

fn plain_listener(address: SocketAddr) -> Value {
    let route = json!({ "match": { "prefix": "/" }, "route": { "cluster": CLUSTER } });
    json!({
        "name": "plain",
        "stat_prefix": "plain",
        "address": tcp(address),
        "filter_chains": [{ "filters": [http_filter(&route)] }],
    })
}

/// The HTTP connection manager with one route.
fn http_filter(route: &Value) -> Value {
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "http",
            "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
            }],
        },
    })
}

/// HTTP/2 with Envoy's defaults and these options of every protocol.
fn http2(common: &Value) -> Value {
    json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "common_http_protocol_options": common,
            "explicit_http_config": { "http2_protocol_options": {} },
        },
    })
}

fn endpoint(cluster: &str, address: &Value) -> Value {
    json!({
        "cluster_name": cluster,
        "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }],
    })
}

fn tcp(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

fn pipe(path: &Path) -> Value {
    json!({ "pipe": { "path": path } })
}
