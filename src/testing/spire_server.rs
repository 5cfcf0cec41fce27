//! A small SPIRE server for agents under test: the calls that an agent makes, in this process, over
//! connections in memory, so that a paused clock decides when everything happens. It answers what it
//! was told to and keeps a log of what it was asked, and when.

mod dial;
mod services;
mod state;

pub use state::{Asked, Behaviour, SpireServer, entry};
