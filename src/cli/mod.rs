//! What the user types and sees: programs and commands, flags, text, JSON and exit codes.
//!
//! Called as `spire-server` or `spire-agent` this is SPIRE's command line: same commands, flags, output
//! and exit codes. Deliberate differences: with `-output json` the exit code is 1 when an item failed,
//! an argument that belongs to no flag is refused, and nothing waits for ever (`-timeout`).

mod agent;
mod chain;
mod command;
mod console;
mod controller;
mod csi;
mod dev;
mod doctor;
mod environment;
mod exit;
mod failure;
mod flags;
mod go;
mod health;
mod input;
mod json;
mod output;
mod program;
mod rpc;
mod running;
mod server;
mod socket;

use failure::Failure;
pub use program::main;
