//! Connections: Unix sockets and mutual TLS, and what their peers are told when something goes wrong.

pub mod admission;
pub mod channel;
pub mod mtls;
pub mod status;
pub mod tcp;
pub mod verify;

mod handshake;
