//! How a program logs: level, format, file.

use std::path::PathBuf;

use super::{Problems, Section, Setting, value};

/// Where and how much a program logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The least severe event that is written.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
    /// Where lines go; `None`: standard output.
    pub file: Option<PathBuf>,
}

/// How severe an event is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// A human must act.
    Error,
    /// It will matter if it lasts.
    Warn,
    /// A state changed.
    #[default]
    Info,
    /// A decision.
    Debug,
    /// Bytes.
    Trace,
}

impl Level {
    /// SPIRE's words; its `panic` and `fatal` are errors here, because nothing of ours logs them.
    const WORDS: &'static [(&'static str, Self)] = &[
        ("debug", Self::Debug),
        ("info", Self::Info),
        ("warn", Self::Warn),
        ("error", Self::Error),
        ("trace", Self::Trace),
        ("warning", Self::Warn),
        ("fatal", Self::Error),
        ("panic", Self::Error),
    ];
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Format {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

/// The log settings of a file.
#[derive(Debug, Default)]
pub struct RawLog {
    level: Option<Setting<Level>>,
    format: Option<Setting<Format>>,
    file: Option<Setting<PathBuf>>,
}

/// The log flags of a `run` command, as typed.
#[derive(Clone, Debug, Default)]
pub struct LogFlags {
    /// `-logLevel`
    pub level: Option<String>,
    /// `-logFormat`
    pub format: Option<String>,
    /// `-logFile`
    pub file: Option<String>,
}

impl RawLog {
    /// Reads the log settings out of a program's block.
    pub fn read(section: &mut Section<'_, '_>) -> Self {
        Self {
            level: section.text("log_level", level),
            format: section.text("log_format", format),
            file: section.text("log_file", value::path),
        }
    }

    /// Puts the flags over the file's settings in the block `block`.
    pub fn overlay(&mut self, block: &str, flags: &LogFlags, problems: &mut Problems) {
        let path = |key| format!("{block}.{key}");
        problems.overlay(
            &mut self.level,
            (&path("log_level"), "-logLevel"),
            flags.level.as_deref(),
            level,
        );
        problems.overlay(
            &mut self.format,
            (&path("log_format"), "-logFormat"),
            flags.format.as_deref(),
            format,
        );
        problems.overlay(
            &mut self.file,
            (&path("log_file"), "-logFile"),
            flags.file.as_deref(),
            value::path,
        );
    }

    /// What the program logs with; where nothing is set, `INFO` as text to standard output.
    #[must_use]
    pub fn validate(self) -> Log {
        let default = Log::default();
        Log {
            level: self.level.map_or(default.level, |level| level.value),
            format: self.format.map_or(default.format, |format| format.value),
            file: self.file.map(|file| file.value),
        }
    }
}

fn level(text: &str) -> Result<Level, value::Error> {
    value::choice(text, Level::WORDS)
}

fn format(text: &str) -> Result<Format, value::Error> {
    value::choice(text, Format::WORDS)
}
