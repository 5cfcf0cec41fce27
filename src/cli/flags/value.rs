//! The kinds of value a flag can take.

use crate::{
    cli::go::duration::GoDuration,
    config::{secret::Secret, value::interval},
};
use std::time::Duration;

/// Something a flag can write to.
pub(in crate::cli) trait Value {
    /// Takes what the user typed; a switch without `=…` takes `true`.
    fn set(&mut self, text: &str) -> Result<(), Refusal>;

    /// What usage calls the value; none for a switch.
    fn placeholder(&self) -> Option<&'static str>;

    /// What usage shows as the default; none when it is empty.
    fn default_text(&self) -> Option<String>;
}

/// Why a value was not taken. The texts are Go's and SPIRE's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum Refusal {
    /// Not of the flag's form.
    #[error("parse error")]
    Form,
    /// A number too large to hold.
    #[error("value out of range")]
    Range,
    /// Not a duration.
    #[error("expected a duration above zero such as 30s or 1m30s")]
    Duration,
    /// Not an output format.
    #[error("bad formatter flag: unknown format option: {0:?}")]
    Format(String),
    /// Two different output formats.
    #[error("the output format has already been set to {0:?}")]
    FormatAgain(&'static str),
}

impl Value for String {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        text.clone_into(self);
        Ok(())
    }

    fn placeholder(&self) -> Option<&'static str> {
        Some("string")
    }

    fn default_text(&self) -> Option<String> {
        (!self.is_empty()).then(|| format!("{self:?}"))
    }
}

/// A text of which it matters whether it was given at all.
impl Value for Option<String> {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        *self = Some(text.to_owned());
        Ok(())
    }

    fn placeholder(&self) -> Option<&'static str> {
        Some("string")
    }

    fn default_text(&self) -> Option<String> {
        None
    }
}

/// A text that must not be shown.
impl Value for Option<Secret> {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        *self = Some(Secret::new(text.to_owned()));
        Ok(())
    }

    fn placeholder(&self) -> Option<&'static str> {
        Some("string")
    }

    fn default_text(&self) -> Option<String> {
        None
    }
}

/// A flag that may be repeated.
impl Value for Vec<String> {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        self.push(text.to_owned());
        Ok(())
    }

    fn placeholder(&self) -> Option<&'static str> {
        Some("value")
    }

    fn default_text(&self) -> Option<String> {
        None
    }
}

/// A switch.
impl Value for bool {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        *self = match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            _ => return Err(Refusal::Form),
        };
        Ok(())
    }

    fn placeholder(&self) -> Option<&'static str> {
        None
    }

    fn default_text(&self) -> Option<String> {
        None
    }
}

/// A switch of which it matters whether it was given at all.
impl Value for Option<bool> {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        self.insert(false).set(text)
    }

    fn placeholder(&self) -> Option<&'static str> {
        None
    }

    fn default_text(&self) -> Option<String> {
        None
    }
}

impl Value for i64 {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        // Go reads 010 as eight: refuse it rather than guess which was meant.
        let is_ambiguous = digits.len() > 1 && digits.starts_with('0');
        if digits.is_empty() || is_ambiguous || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refusal::Form);
        }
        *self = text.parse().map_err(|_| Refusal::Range)?;
        Ok(())
    }

    fn placeholder(&self) -> Option<&'static str> {
        Some("int")
    }

    fn default_text(&self) -> Option<String> {
        (*self != 0).then(|| self.to_string())
    }
}

/// A number of which it matters whether it was given at all.
impl Value for Option<i64> {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        self.insert(0).set(text)
    }

    fn placeholder(&self) -> Option<&'static str> {
        Some("int")
    }

    fn default_text(&self) -> Option<String> {
        None
    }
}

/// `true`, `false`, or anything else for either, as SPIRE's filters of agents take it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) enum Ternary {
    /// Both.
    #[default]
    Any,
    /// Only those that are.
    Yes,
    /// Only those that are not.
    No,
}

impl Ternary {
    /// The filter as SPIRE's API has it.
    pub(in crate::cli) const fn wanted(self) -> Option<bool> {
        match self {
            Self::Any => None,
            Self::Yes => Some(true),
            Self::No => Some(false),
        }
    }
}

impl Value for Ternary {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        *self = match text {
            "true" => Self::Yes,
            "false" => Self::No,
            _ => Self::Any,
        };
        Ok(())
    }

    fn placeholder(&self) -> Option<&'static str> {
        Some("value")
    }

    fn default_text(&self) -> Option<String> {
        None
    }
}

/// How long to wait for an answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Deadline(pub(in crate::cli) Duration);

impl Value for Deadline {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        self.0 = interval(text).map_err(|_| Refusal::Duration)?;
        Ok(())
    }

    fn placeholder(&self) -> Option<&'static str> {
        Some("value")
    }

    fn default_text(&self) -> Option<String> {
        Some(GoDuration(self.0).to_string())
    }
}
