//! Connections: the Unix socket that workloads find, and HTTP/2 on it.
//!
//! A connection's way: [`uds`] published the name → [`accept`] takes the connection on its own thread,
//! names the peer and greets → [`serve`] speaks HTTP/2 on the runtime until one side ends.

pub mod accept;
pub mod greeting;
pub mod limits;
pub mod peer;
pub mod serve;
pub mod status;
pub mod uds;

mod authority;
mod hpack;
mod occupant;
mod patience;
mod settings;
mod streams;

pub use accept::{Accepted, Acceptor};
pub use greeting::Greeting;
pub use limits::Limits;
pub use occupant::FileKind;
pub use patience::Missing;
pub use peer::PeerCred;
pub use serve::{Ended, serve, serve_all};
pub use uds::Takeover;
