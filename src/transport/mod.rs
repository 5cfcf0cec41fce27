//! Connections: Unix sockets and mutual TLS, and what their peers are told when something goes wrong.

pub mod greeting;
pub mod status;

mod authority;
mod hpack;
mod patience;
mod settings;
mod streams;

pub use greeting::Greeting;
pub use patience::Missing;
