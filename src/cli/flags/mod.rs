//! Go's `flag` package as SPIRE's users know it: `-name value`, `-name=value`, `--name value`, `-switch`,
//! its usage texts and its messages. A command adds its flags once; parser and usage read that table.

pub(super) mod parse;
pub(super) mod set;
pub(super) mod usage;
pub(super) mod value;

pub(super) use set::FlagSet;
pub(super) use value::{Deadline, Refusal, Ternary, Value};
