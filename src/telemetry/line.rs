//! How an event looks as one line: as SPIRE writes it (logrus), text or JSON.
//!
//! A line never contains what a workload could take for a line end or a terminal for a command: every
//! control character is escaped. Knows nothing of levels that are off, or of where lines go.

use crate::{config::log::Format, runtime::Clock};
use serde_json::{Map, Value};
use std::{
    error::Error,
    fmt::{self, Write as _},
};
use time::{OffsetDateTime, macros::format_description};
use tracing::{
    Event, Level,
    field::{Field, Visit},
};

/// Beyond this a value helps nobody and a line is one that a peer made.
const MAX_VALUE_BYTES: usize = 4 * 1024;

/// What logrus writes itself; a field of that name gets a prefix, as there.
const RESERVED: [&str; 3] = ["time", "level", "msg"];

/// The line of `event`, newline included.
pub(super) fn of_event(event: &Event<'_>, format: Format, clock: &Clock) -> String {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let metadata = event.metadata();
    fields.0.push(("subsystem_name".to_owned(), subsystem(metadata.target()).into()));
    render(*metadata.level(), fields, format, clock)
}

/// The line that says how many lines were dropped.
pub(super) fn of_dropped(lines: u64, format: Format, clock: &Clock) -> String {
    let message = "log lines were dropped: the log is written slower than it grows";
    let fields = [("message".to_owned(), message.into()), ("lines".to_owned(), lines.into())];
    render(Level::WARN, Fields(fields.into()), format, clock)
}

fn render(level: Level, fields: Fields, format: Format, clock: &Clock) -> String {
    let (time, level) = (timestamp(clock), level_word(level));
    let (mut message, mut others) = (Value::from(""), Vec::with_capacity(fields.0.len()));
    for (name, value) in fields.0 {
        match name.as_str() {
            "message" => message = value,
            name if RESERVED.contains(&name) => others.push((format!("fields.{name}"), value)),
            _ => others.push((name, value)),
        }
    }
    let head = [("time", time.into()), ("level", level.into()), ("msg", message)];
    let fields = head.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(others);
    let mut line = match format {
        Format::Text => text(fields),
        Format::Json => json(fields),
    };
    line.push('\n');
    line
}

/// `name=value` pairs, quoted where logrus quotes.
fn text(fields: impl Iterator<Item = (String, Value)>) -> String {
    let mut line = String::with_capacity(256);
    for (position, (name, value)) in fields.enumerate() {
        if position > 0 {
            line.push(' ');
        }
        line.push_str(&name);
        line.push('=');
        match value {
            Value::String(text) => push_quoted(&mut line, &text),
            number => line.push_str(&number.to_string()),
        }
    }
    line
}

/// One object. Hidden characters stand only inside its strings, where JSON has this spelling for them.
fn json(fields: impl Iterator<Item = (String, Value)>) -> String {
    let object = Value::Object(fields.collect::<Map<_, _>>()).to_string();
    let mut line = String::with_capacity(object.len());
    for c in object.chars() {
        push_visible(&mut line, c);
    }
    line
}

/// Text as it is if it is plain, else in quotes as Go's `%q` writes it.
fn push_quoted(line: &mut String, text: &str) {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if text.chars().all(is_plain) {
        return line.push_str(text);
    }
    line.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c => push_visible(line, c),
        }
    }
    line.push('"');
}

/// The character, or its number where it is none to see.
fn push_visible(line: &mut String, c: char) {
    if !is_hidden(c) {
        return line.push(c);
    }
    // Writing into a string cannot fail.
    let _infallible = write!(line, "\\u{:04x}", u32::from(c));
}

/// Characters that a terminal obeys or that change how others are shown.
const fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' | '\u{feff}'
    )
}

/// RFC 3339 in UTC with milliseconds.
fn timestamp(clock: &Clock) -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::from(clock.now()).format(format).unwrap_or_default()
}

/// logrus' words.
const fn level_word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// The part of the program that speaks: `finial::agent::cache::writer` is `agent.cache`.
fn subsystem(target: &str) -> String {
    let path = target.strip_prefix("finial::").unwrap_or(target);
    path.splitn(3, "::").take(2).collect::<Vec<_>>().join(".")
}

/// The fields of an event in the order in which they stand in the code.
#[derive(Default)]
struct Fields(Vec<(String, Value)>);

impl Fields {
    fn push(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.push((field.name().trim_start_matches("r#").to_owned(), value.into()));
    }

    fn push_text(&mut self, field: &Field, mut text: String) {
        if text.len() > MAX_VALUE_BYTES {
            text.truncate(text.floor_char_boundary(MAX_VALUE_BYTES));
            text.push('…');
        }
        self.push(field, text);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push_text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push_text(field, value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut chain = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            let _infallible = write!(chain, ": {error}");
            cause = error.source();
        }
        self.push_text(field, chain);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value);
    }
}
