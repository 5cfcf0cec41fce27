//! A cluster: what its API server lets the caller read, and what of it keeps pods from their identities.
//! `ask` asks, `objects` and `settings` are what it reads, the others judge and ask nobody.

mod ask;
mod identities;
mod istio;
mod judge;
mod nodes;
mod objects;
mod pods;
mod seen;
mod settings;
mod spire;

pub use ask::look;
pub use judge::findings;
pub use seen::Seen;

#[cfg(test)]
mod tests;
