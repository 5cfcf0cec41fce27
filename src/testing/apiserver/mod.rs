//! A Kubernetes API server on loopback, as far as finial asks one: objects with versions, lists in pages,
//! watches, patches, leases, token reviews. It can fail, hang, forget its history, cut its watches, go
//! away and come back, and keeps a list of what it was asked.

mod agents;
mod answer;
mod merge;
mod path;
mod reviews;
mod rights;
mod server;
mod state;
mod store;
mod watch;

pub use agents::{path_of_node, path_of_pod, uid_of_node, uid_of_pod};
pub use server::{ApiServer, kubeconfig};
pub use state::Mood;
