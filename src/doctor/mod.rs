//! What is wrong, and what would put it right: findings out of what an agent says of a process (`cli` asks
//! it), and of what a cluster's API server says.

pub mod cluster;
pub mod finding;
pub mod process;

pub use finding::{Finding, Level};
