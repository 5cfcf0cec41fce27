//! A setting and where it was made, so that a check far from the file can still point at the line.

use super::Position;

/// Where somebody set a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the file.
    File(Position),
    /// On the command line, by the flag of this name.
    Flag(&'static str),
}

/// A value that somebody set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// What it was set to.
    pub value: T,
    /// Where.
    pub origin: Origin,
}

impl<T> Setting<T> {
    /// The same setting with its value read as something else.
    pub fn map<U>(self, read: impl FnOnce(T) -> U) -> Setting<U> {
        Setting { value: read(self.value), origin: self.origin }
    }
}
