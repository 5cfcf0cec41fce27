//! What is wrong, and what would put it right: findings out of what the programs say of themselves. Asks
//! nobody; `cli` does.

pub mod finding;
pub mod process;

pub use finding::{Finding, Level};
