//! The flags of one command: name, help, and the place that gets the value.

use super::Value;

/// One flag.
pub(in crate::cli) struct Flag<'a> {
    /// Its name without dashes.
    pub(super) name: &'static str,
    /// What it does, for the usage text.
    pub(super) help: &'static str,
    /// Where its value goes; what is there now is the default.
    pub(super) value: &'a mut dyn Value,
}

/// The flags of one command, in any order.
#[derive(Default)]
pub(in crate::cli) struct FlagSet<'a> {
    pub(super) flags: Vec<Flag<'a>>,
}

impl<'a> FlagSet<'a> {
    /// Adds a flag that writes to `value` and whose default is what stands there.
    pub(in crate::cli) fn add(
        &mut self,
        name: &'static str,
        value: &'a mut dyn Value,
        help: &'static str,
    ) {
        self.flags.push(Flag { name, help, value });
    }
}
