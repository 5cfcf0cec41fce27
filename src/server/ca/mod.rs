//! The certificate authority: its keys, its journal, its rotation, and what it signs.

pub mod config;
pub mod driver;
pub mod journal;
mod key_use;
pub mod keystore;
pub mod propagation;
pub mod rotate;
pub mod sign;
pub mod slot;
pub mod start;
pub mod state;

pub use config::CaConfig;
pub use driver::Rotation;
pub use keystore::KeyStore;
pub use propagation::{Propagation, Watchers};
pub use sign::{Ca, SignError};
pub use start::CaError;
pub use state::CaState;
