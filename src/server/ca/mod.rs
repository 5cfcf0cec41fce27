//! The certificate authority: its keys, its journal, its rotation, and what it signs.

pub mod keystore;
pub mod propagation;
pub mod rotate;
