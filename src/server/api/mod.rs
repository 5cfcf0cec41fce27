//! The server's gRPC services, one module each: they read requests, ask the domain, write answers.

pub mod entry;
