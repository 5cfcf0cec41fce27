//! Who the agent is: its own SVID, how it gets and renews it, and by which bundle it knows its server.

pub mod bootstrap;
pub mod own_svid;
pub mod owner;
pub mod renewal;
pub mod standing;
pub mod trust;

pub use owner::{Identity, IdentityHandle, Parts};
pub use standing::{Cause, Denial, Standing};
pub use trust::Trust;
