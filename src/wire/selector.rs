//! `spire.api.types.Selector` ⇄ [`Selector`].

use super::proto::spire::api::types;
use crate::spiffe::{Selector, SelectorSet, selector::Error};

impl From<&Selector> for types::Selector {
    fn from(selector: &Selector) -> Self {
        Self { r#type: selector.kind().to_owned(), value: selector.value().to_owned() }
    }
}

/// Reads a list of selectors; order and repetition do not matter.
///
/// # Errors
/// The first selector that is not valid.
pub fn selector_set(wire: &[types::Selector]) -> Result<SelectorSet, Error> {
    wire.iter().map(|selector| Selector::new(&selector.r#type, &selector.value)).collect()
}

/// Writes a set in its canonical order.
#[must_use]
pub fn to_wire(selectors: &SelectorSet) -> Vec<types::Selector> {
    selectors.as_slice().iter().map(types::Selector::from).collect()
}
