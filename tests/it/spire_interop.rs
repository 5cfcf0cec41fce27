//! finial and a real SPIRE, each as the other's peer, so that a mesh can change over node by node. The
//! programs of the SPIRE are those in `SPIRE_BIN_DIR`; without it these tests are left out, and say so.

mod agents;
mod commands;
mod field;
mod many;
mod rotation;
