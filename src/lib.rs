//! finial gives the workloads of a service mesh their SPIFFE identities: a server that signs, and on
//! each node an agent that attests its callers and streams them their X.509-SVID and trust bundle.
//!
//! Layers, lowest first; an arrow only ever points downwards (`tests/it/architecture.rs` checks it):
//! - L0 mechanics: [`runtime`] (clock, backoff, shutdown, tasks), [`x509`] (keys, certificates, CSRs)
//! - L1 the SPIFFE domain: [`spiffe`] (ids, entries, SVIDs, bundles), [`config`], [`telemetry`]
//! - L2 other people's formats and transports: [`wire`] (protobuf), [`transport`] (sockets, mTLS),
//!   [`k8s`] (the Kubernetes API)
//! - L3 the programs, which never import each other: [`agent`], [`server`], [`csi`], [`controller`];
//!   above them [`dev`] and [`cli`], which alone sees all
//! - L3 the programs, which never import each other: [`agent`], [`server`], [`csi`]; above them [`dev`],
//!   [`doctor`] and [`cli`], which alone sees all
//!
//! The two paths to know before reading further:
//! - an SDS request: `transport::accept` → `agent::serve` → `agent::workload` → `agent::cache` → wire
//! - a rotation: `agent::renew` → `server::api::svid` → `server::ca` → `agent::cache` → every stream

pub mod runtime;
pub mod x509;

pub mod config;
pub mod spiffe;
pub mod telemetry;

pub mod k8s;
pub mod transport;
pub mod wire;

pub mod agent;
pub mod controller;
pub mod csi;
pub mod server;

pub mod cli;
pub mod dev;
pub mod doctor;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
