//! The SPIFFE CSI driver: mounts the directory of the agent's sockets into pods, and tells the kubelet
//! that it is there.
//!
//! The way of a volume: `node` takes the kubelet's call → `request` and `target` judge it → `turns` lets
//! one call at a time work on a target → `mount` binds the agent's directory (`source`) to the place of
//! the volume (`place`). It keeps no state: what is mounted is asked of the kernel, so a driver that was
//! killed at any instant goes on where it was.

pub mod config;
pub mod listen;
pub mod mount;
pub mod start;

mod condition;
mod identity;
mod lasting;
mod metrics;
mod node;
mod place;
mod register;
mod request;
mod service;
mod source;
mod target;
mod turns;

pub use config::CsiConfig;
pub use start::{Csi, RunningCsi};
