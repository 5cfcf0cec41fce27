//! Connections: Unix sockets and mutual TLS, and what their peers are told when something goes wrong.

pub mod status;
