//! The `-output` flag: the same answer as text for people or as JSON for programs.

use super::{
    Failure, console,
    flags::{FlagSet, Refusal, Value},
    json::{self, Described},
};

/// `-output pretty` or `-output json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    /// Text in SPIRE's form.
    Pretty,
    /// One line of JSON.
    Json,
    /// Not given, which is text.
    #[default]
    Default,
}

/// The format a command prints in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Output(Format);

impl Output {
    /// Adds `-output`.
    pub(super) fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        flags.add("output", &mut self.0, "The form of the answer: pretty or json");
    }

    /// Whether the answer goes out as JSON.
    pub(super) fn is_json(self) -> bool {
        self.0 == Format::Json
    }

    /// Prints `answer` as JSON, or as the text that `pretty` makes of it.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(super) fn print<M: Described>(
        self,
        answer: &M,
        pretty: impl FnOnce(&M) -> String,
    ) -> Result<(), Failure> {
        let text = if self.is_json() { json::line(answer)? } else { pretty(answer) };
        console::print(&text)
    }
}

impl Format {
    const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Pretty | Self::Default => "pretty",
        }
    }
}

impl Value for Format {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        let format = match text.to_ascii_lowercase().as_str() {
            "json" => Self::Json,
            "pretty" | "prettyprint" => Self::Pretty,
            _ => return Err(Refusal::Format(text.to_owned())),
        };
        if *self != Self::Default && *self != format {
            return Err(Refusal::FormatAgain(self.name()));
        }
        *self = format;
        Ok(())
    }

    fn placeholder(&self) -> Option<&'static str> {
        Some("value")
    }

    fn default_text(&self) -> Option<String> {
        Some(self.name().to_owned())
    }
}
