//! A reading head over a file's text: characters, and the position they stand at.

use super::tree::Position;

/// Reads characters one by one and knows where it is.
#[derive(Clone, Debug)]
pub(super) struct Text<'a> {
    rest: &'a str,
    at: Position,
}

impl<'a> Text<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { rest: text, at: Position::START }
    }

    /// The place of the next character.
    pub(super) const fn at(&self) -> Position {
        self.at
    }

    /// What has not been read yet.
    pub(super) const fn rest(&self) -> &'a str {
        self.rest
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.rest = self.rest.get(character.len_utf8()..).unwrap_or_default();
        self.at = self.at.after(character);
        Some(character)
    }

    /// Reads the next character if it is `wanted`, and says whether it was.
    pub(super) fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.next();
        }
        found
    }

    /// Reads characters as long as they are `wanted`.
    pub(super) fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let start = self.rest;
        while self.peek().is_some_and(&wanted) {
            self.next();
        }
        self.since(start)
    }

    /// What was read since the rest was `start`.
    pub(super) fn since(&self, start: &'a str) -> &'a str {
        let length = start.len().saturating_sub(self.rest.len());
        start.get(..length).unwrap_or_default()
    }
}
