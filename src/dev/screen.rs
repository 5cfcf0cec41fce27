//! What `finial dev` shows while it runs: redrawn in place on a terminal, else a line a second.

use super::{mesh::Side, tally::Counts};
use crate::agent::ServedIdentity;
use std::{
    fmt::Write as _,
    io::{self, Write},
    time::SystemTime,
};

/// Where it is shown.
pub struct Screen {
    out: Box<dyn Write + Send>,
    form: Form,
    /// How many lines stand on the terminal that the next picture replaces.
    drawn: usize,
}

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A terminal: the picture is drawn over the last one.
    Terminal,
    /// A pipe or file: one line at a time.
    Lines,
}

/// What is shown.
pub(super) struct Picture<'a> {
    pub(super) identities: &'a [ServedIdentity],
    pub(super) counts: &'a Counts,
    pub(super) pushes: u64,
    pub(super) ca_rotations: u64,
    pub(super) requests: u64,
    pub(super) failed: u64,
    pub(super) now: SystemTime,
}

impl Screen {
    /// A screen that writes to `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, form: Form) -> Self {
        Self { out, form, drawn: 0 }
    }

    /// Writes `text`, which stays.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        self.drawn = 0;
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Shows how things are now.
    pub(super) fn show(&mut self, picture: &Picture<'_>) -> io::Result<()> {
        let text = match self.form {
            Form::Terminal => picture.page(),
            Form::Lines => picture.line(),
        };
        if self.form == Form::Terminal && self.drawn > 0 {
            // Up to where the last picture began, and clear from there (ECMA-48 CUU, ED).
            write!(self.out, "\x1b[{}A\x1b[J", self.drawn)?;
        }
        self.drawn = text.lines().count();
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

impl Picture<'_> {
    fn page(&self) -> String {
        let mut text = String::new();
        for identity in self.identities {
            let left = identity.not_after.duration_since(self.now).unwrap_or_default();
            let serial = identity.serial.to_string();
            let tail = serial.len().saturating_sub(12);
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{:40} serial …{}  {} s left",
                identity.spiffe_id.as_str(),
                serial.get(tail..).unwrap_or_default(),
                left.as_secs()
            );
        }
        text.push_str(&self.line());
        text
    }

    fn line(&self) -> String {
        let last = self.counts.push_to_use.last().map_or_else(
            || "-".to_owned(),
            |took| format!("{:.1} ms", took.as_secs_f64() * 1_000.0),
        );
        let rotations = Side::BOTH.map(|side| *self.counts.rotations.of(side));
        format!(
            "requests {} ok, {} failed | SVID rotations {} + {} | CA rotations {} | pushes {} | push to use {last}\n",
            self.requests.saturating_sub(self.failed),
            self.failed,
            rotations[0],
            rotations[1],
            self.ca_rotations,
            self.pushes,
        )
    }
}
