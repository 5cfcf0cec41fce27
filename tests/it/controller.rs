//! The controller between a Kubernetes API server and the real server of entries.

mod convergence;
mod faults;
mod fixture;
mod leadership;
mod process;
mod reports;
mod webhook;
