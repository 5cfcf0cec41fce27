//! Mechanics that every program stands on: time, backoff, shutdown, tasks and published state.

pub mod backoff;
pub mod bell;
pub mod clock;
pub mod complaint;
pub mod files;
pub mod memory;
pub mod publish;
pub mod ready;
pub mod shutdown;
pub mod tasks;
pub mod wishes;

pub use backoff::Backoff;
pub use bell::Bell;
pub use clock::Clock;
pub use publish::{Publisher, Reader};
pub use shutdown::Shutdown;
pub use tasks::TaskSet;
