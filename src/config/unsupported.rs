//! SPIRE's settings that finial does not support yet, and which of their values ask for nothing.
//!
//! A file that spells out SPIRE's default of such a setting means the same with and without it, so it is
//! not refused. Each setting names that value itself; everything else is refused by name.

use super::tree::Value;

/// A setting and the values of it that ask for nothing.
pub type Unsupported = (&'static str, Idle);

/// What asks for nothing. An empty text, an empty list and `null` never do: SPIRE reads them as not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Nothing but what is not set.
    Unset,
    /// SPIRE's default, or what finial does anyway, in this spelling.
    At(&'static str),
    /// A block without content.
    EmptyBlock,
    /// Whatever is said: it refines another setting that is refused.
    Always,
}

impl Idle {
    /// Whether `value` asks for nothing.
    pub(super) fn covers(self, value: &Value) -> bool {
        is_unset(value)
            || match self {
                Self::Unset => false,
                Self::At(idle) => spelling(value) == Some(idle),
                Self::EmptyBlock => is_empty_block(value),
                Self::Always => true,
            }
    }
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::List(elements) => elements.iter().all(|element| is_unset(&element.value)),
        _ => false,
    }
}

/// A block stands alone or, as the Helm chart writes it, in a list.
fn is_empty_block(value: &Value) -> bool {
    match value {
        Value::Object(entries) => entries.is_empty(),
        Value::List(elements) => elements.iter().all(|element| is_empty_block(&element.value)),
        _ => false,
    }
}

fn spelling(value: &Value) -> Option<&str> {
    match value {
        Value::Bool(true) => Some("true"),
        Value::Bool(false) => Some("false"),
        Value::Number(text) | Value::String(text) => Some(text),
        _ => None,
    }
}
