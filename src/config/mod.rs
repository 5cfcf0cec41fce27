//! Reads SPIRE's configuration files, HCL 1 or JSON, and holds what both programs configure alike.
//!
//! A file goes through four hands: `source` (bytes, limits, environment), `hcl` or `json` (one tree with positions),
//! `section` (typed settings and the keys nobody asked for), and the program's own `validate`.

mod expand;
mod hcl;
mod json;
mod scanner;
mod similar;
mod text;
mod tree;

pub mod error;
pub mod listen;
pub mod log;
pub mod plugin;
pub mod problem;
pub mod secret;
pub mod section;
pub mod setting;
pub mod source;
pub mod unsupported;
pub mod value;
pub mod warning;

pub use error::Error;
pub use problem::{Cause, Problem, Problems};
pub use section::Section;
pub use setting::{Origin, Setting};
pub use source::{Environment, Source};
pub use tree::Position;
pub use unsupported::{Idle, Unsupported};
pub use warning::{Loaded, Warning};
