//! Connections: the Unix socket that workloads find, TLS between SPIFFE identities, HTTP/2 on both.
//!
//! The way of a connection to a Unix socket: [`uds`] published the name → [`accept`] takes the
//! connection on its own thread, names the peer and greets → [`mod@serve`] speaks HTTP/2 on the runtime
//! until one side ends. The way of a TLS connection: [`tcp`] accepts, [`mtls`] has the handshake made
//! and [`verify`] judges the peer. [`channel`] is the other end of both.

pub mod accept;
pub mod admission;
pub mod alias;
pub mod body;
pub mod channel;
pub mod greeting;
pub mod limits;
pub mod mtls;
pub mod peer;
pub mod serve;
pub mod status;
pub mod tcp;
pub mod uds;
pub mod verify;

mod authority;
mod dial;
mod handshake;
mod hpack;
mod occupant;
mod opening;
mod patience;
#[cfg(test)]
mod pieces;
mod rounds;
mod settings;
mod slices;
mod streams;

pub use accept::{Accepted, Acceptor};
pub use body::RequestBody;
pub use greeting::Greeting;
pub use limits::Limits;
pub use occupant::FileKind;
pub use patience::Missing;
pub use peer::PeerCred;
pub use serve::{Ended, serve, serve_all};
pub use uds::Takeover;
