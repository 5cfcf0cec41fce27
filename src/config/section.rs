//! Reads one block of a file as a table of typed settings, and reports what nobody asked for.
//!
//! A program asks for each key it knows, in the type it needs; asking is what makes a key known. When the reading
//! function returns, every entry left over is a problem: unknown, or known to SPIRE and not yet to finial.
//!
//! A block may come in pieces: HCL repeats blocks, the Helm chart wraps them into lists. The pieces are one section.

use super::similar::nearest;
use super::tree::{Entry, Form, Node, Position, Value};
use super::{Cause, Origin, Problems, Setting, Unsupported, value};

/// The name of a block whose key is a name, such as a plugin's.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    /// The name.
    pub text: &'a str,
    /// Where it stands.
    pub at: Position,
    /// Where it stands a second time.
    pub again: Option<Position>,
}

/// A block that is being read.
pub struct Section<'t, 'p> {
    path: String,
    entries: Vec<&'t Entry>,
    known: Vec<&'static str>,
    problems: &'p mut Problems,
}

impl<'t, 'p> Section<'t, 'p> {
    pub(super) fn root<T>(
        entries: &'t [Entry],
        problems: &'p mut Problems,
        read: impl FnOnce(&mut Section<'t, '_>) -> T,
    ) -> T {
        let root = Section {
            path: String::new(),
            entries: entries.iter().collect(),
            known: Vec::new(),
            problems,
        };
        root.read(read)
    }

    fn read<T>(mut self, read: impl FnOnce(&mut Section<'t, '_>) -> T) -> T {
        let table = read(&mut self);
        self.report_unknown();
        table
    }

    /// The block's dotted path; empty for the file.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The problems found so far, to add one.
    pub const fn problems(&mut self) -> &mut Problems {
        self.problems
    }

    /// Whether there is such a key, of whatever value. It does not become known by that.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key.eq_ignore_ascii_case(key))
    }

    /// A text, as `read` understands it. An empty text is not set, as in SPIRE.
    pub fn text<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, value::Error>,
    ) -> Option<Setting<T>> {
        let node = self.single(key)?;
        let origin = Origin::File(node.at);
        let text = match &node.value {
            Value::String(text) | Value::Number(text) => text,
            other => return self.wrong_type(key, node, "a string", other),
        };
        if text.is_empty() {
            return None;
        }
        match read(text) {
            Ok(value) => Some(Setting { value, origin }),
            Err(error) => self.bad_value(key, text, origin, error),
        }
    }

    /// A switch.
    pub fn boolean(&mut self, key: &'static str) -> Option<Setting<bool>> {
        let node = self.single(key)?;
        match &node.value {
            Value::Bool(value) => Some(Setting { value: *value, origin: Origin::File(node.at) }),
            other => self.wrong_type(key, node, "true or false", other),
        }
    }

    /// A whole number, in quotes or not.
    pub fn integer(&mut self, key: &'static str) -> Option<Setting<i64>> {
        let node = self.single(key)?;
        let text = match &node.value {
            Value::Number(text) => text,
            Value::String(text) if text.is_empty() => return None,
            Value::String(text) => text,
            other => return self.wrong_type(key, node, "a whole number", other),
        };
        let origin = Origin::File(node.at);
        match value::integer(text) {
            Ok(value) => Some(Setting { value, origin }),
            Err(error) => self.bad_value(key, text, origin, error),
        }
    }

    /// A list of texts; a single text is a list of one.
    pub fn texts(&mut self, key: &'static str) -> Option<Setting<Vec<String>>> {
        let node = self.single(key)?;
        let elements = match &node.value {
            Value::List(elements) => elements.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let mut texts = Vec::new();
        for element in elements {
            match &element.value {
                Value::String(text) | Value::Number(text) => texts.push(text.clone()),
                other => return self.wrong_type(key, element, "a list of strings", other),
            }
        }
        Some(Setting { value: texts, origin: Origin::File(node.at) })
    }

    /// A block, read by `read`; `None` if there is none.
    pub fn section<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'t, '_>) -> T,
    ) -> Option<T> {
        self.known.push(key);
        let pieces = self.take(|entry| entry.key.eq_ignore_ascii_case(key));
        self.report_repeated_assignments(&pieces);
        let (there, entries) = self.content(key, &pieces);
        there.then(|| self.inner(key, entries).read(read))
    }

    /// A block, read by `read` as an empty one if there is none.
    pub fn table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'t, '_>) -> T,
    ) -> T {
        self.known.push(key);
        let pieces = self.take(|entry| entry.key.eq_ignore_ascii_case(key));
        self.report_repeated_assignments(&pieces);
        let (_, entries) = self.content(key, &pieces);
        self.inner(key, entries).read(read)
    }

    /// Every block of this section whatever its name, in the order of the file, for sections whose keys are names.
    pub fn named_sections(&mut self, mut read: impl FnMut(Name<'_>, &mut Section<'t, '_>)) {
        while let Some(first) = self.entries.first().copied() {
            let pieces = self.take(|entry| entry.key == first.key);
            let name =
                Name { text: &first.key, at: first.at, again: pieces.get(1).map(|piece| piece.at) };
            let (_, entries) = self.content(&first.key, &pieces);
            self.inner(&first.key, entries).read(|section| read(name, section));
        }
    }

    /// The same where a name may stand once only: standing twice is a problem, told with both places.
    pub fn unique_sections(&mut self, mut read: impl FnMut(Name<'_>, &mut Section<'t, '_>)) {
        self.named_sections(|name, section| {
            if let Some(again) = name.again {
                let cause = Cause::Duplicate { key: name.text.to_owned(), first: name.at };
                let path = section.path().to_owned();
                section.problems().push(path, Some(Origin::File(again)), cause);
            }
            read(name, section);
        });
    }

    /// Every block of a list of blocks, each by itself and with its place; a block without a list around it is
    /// a list of one.
    pub fn sections(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(Position, &mut Section<'t, '_>),
    ) {
        self.known.push(key);
        let pieces = self.take(|entry| entry.key.eq_ignore_ascii_case(key));
        for node in pieces.into_iter().flat_map(|piece| unwrapped(&piece.value)) {
            match &node.value {
                Value::Object(inner) => {
                    let block = self.inner(key, inner.iter().collect());
                    block.read(|block| read(node.at, block));
                }
                Value::Null => {}
                other => {
                    self.wrong_type::<()>(key, node, "a list of blocks", other);
                }
            }
        }
    }

    /// Says that these settings are SPIRE's and not yet finial's: refused unless they ask for nothing. No typo is
    /// taken for one of them: it would not help.
    pub fn unsupported(&mut self, settings: &[Unsupported]) {
        for (key, idle) in settings {
            for entry in self.take(|entry| key.eq_ignore_ascii_case(&entry.key)) {
                if idle.covers(&entry.value.value) {
                    continue;
                }
                let path = self.path_of(&entry.key);
                let cause = Cause::UnsupportedKey { path: path.clone() };
                self.problems.push(path, Some(Origin::File(entry.at)), cause);
            }
        }
    }

    /// Leaves out whatever has not been asked for: the block belongs to something that is switched off.
    pub fn ignore(&mut self) {
        self.entries.clear();
    }

    fn inner(&mut self, key: &str, entries: Vec<&'t Entry>) -> Section<'t, '_> {
        Section { path: self.path_of(key), entries, known: Vec::new(), problems: self.problems }
    }

    /// Whether the pieces make a block, and all their entries.
    fn content(&mut self, key: &str, pieces: &[&'t Entry]) -> (bool, Vec<&'t Entry>) {
        let mut is_there = false;
        let mut entries = Vec::new();
        for node in pieces.iter().flat_map(|piece| unwrapped(&piece.value)) {
            match &node.value {
                Value::Object(inner) => {
                    is_there = true;
                    entries.extend(inner);
                }
                Value::Null => {}
                other => {
                    self.wrong_type::<()>(key, node, "a block", other);
                }
            }
        }
        (is_there, entries)
    }

    fn report_repeated_assignments(&mut self, pieces: &[&'t Entry]) {
        let assigned: Vec<_> = pieces.iter().filter(|piece| piece.form == Form::Assigned).collect();
        if let [first, repeated @ ..] = assigned.as_slice() {
            for entry in repeated {
                self.report_duplicate(first.at, entry);
            }
        }
    }

    fn report_duplicate(&mut self, first: Position, entry: &Entry) {
        let cause = Cause::Duplicate { key: entry.key.clone(), first };
        let path = self.path_of(&entry.key);
        self.problems.push(path, Some(Origin::File(entry.at)), cause);
    }

    /// Takes the one value of a key out of the section.
    fn single(&mut self, key: &'static str) -> Option<&'t Node> {
        self.known.push(key);
        let found = self.take(|entry| entry.key.eq_ignore_ascii_case(key));
        let (first, repeated) = found.split_first()?;
        for entry in repeated {
            self.report_duplicate(first.at, entry);
        }
        Some(&first.value).filter(|node| node.value != Value::Null)
    }

    fn take(&mut self, wanted: impl Fn(&Entry) -> bool) -> Vec<&'t Entry> {
        let entries = std::mem::take(&mut self.entries);
        let (taken, left) = entries.into_iter().partition(|entry| wanted(entry));
        self.entries = left;
        taken
    }

    fn bad_value<T>(
        &mut self,
        key: &str,
        text: &str,
        origin: Origin,
        error: value::Error,
    ) -> Option<T> {
        let cause = Cause::Value { key: key.to_owned(), text: text.to_owned(), error };
        self.problems.push(self.path_of(key), Some(origin), cause);
        None
    }

    fn wrong_type<T>(
        &mut self,
        key: &str,
        node: &Node,
        expected: &'static str,
        found: &Value,
    ) -> Option<T> {
        let path = self.path_of(key);
        let cause = Cause::WrongType { path: path.clone(), expected, found: found.kind() };
        self.problems.push(path, Some(Origin::File(node.at)), cause);
        None
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn report_unknown(&mut self) {
        for entry in std::mem::take(&mut self.entries) {
            let cause = Cause::UnknownKey {
                section: self.path.clone(),
                key: entry.key.clone(),
                similar: nearest(&entry.key, self.known.iter().copied()),
            };
            let path = self.path_of(&entry.key);
            self.problems.push(path, Some(Origin::File(entry.at)), cause);
        }
    }
}

/// The blocks in a value: itself, or what a list around it holds.
fn unwrapped(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(elements) => elements,
        _ => std::slice::from_ref(node),
    }
}

#[cfg(test)]
mod tests;
