//! A whole server as its agents and operators meet it: over TLS on the loopback interface and over its
//! private socket.

mod agents;
mod authorization;
mod bundle_endpoint;
pub(crate) mod fixture;
mod join;
mod life;
mod pages;
mod tls;
mod watch;
