//! The workload socket: Envoy's SDS and the SPIFFE Workload API, one connection task per caller.

pub mod body;
pub mod caller;
pub mod debug;
mod delta;
mod doctor;
pub mod grpc;
mod ledger;
mod node;
mod questions;
mod reattest;
mod route;
mod sds;
pub mod secret;
pub mod socket;
mod sotw;
mod workload_api;
