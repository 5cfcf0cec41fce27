//! Go's textual forms, which SPIRE's users read and grep: quoted strings, times, durations.

pub(super) mod duration;
pub(super) mod quote;
pub(super) mod time;
