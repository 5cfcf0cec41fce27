//! The `plugins` block: plugin types, each with named plugins, each with its data.
//!
//! A program describes each type as a table of the plugins it has built in; the rest is refused by name.

use super::{Cause, Idle, Origin, Position, Problems, Section, Unsupported};

/// The keys of a plugin that is a program of its own, or has its data in a file of its own.
const EXTERNAL: &[Unsupported] = &[
    ("plugin_cmd", Idle::Unset),
    ("plugin_args", Idle::Unset),
    ("plugin_checksum", Idle::Unset),
    ("plugin_data_file", Idle::Unset),
];

/// A plugin's name and the reader of its `plugin_data`.
pub type BuiltIn<T> = (&'static str, fn(&mut Section<'_, '_>) -> T);

/// A plugin type: what finial has built in, and what only SPIRE has.
pub struct Kind<T: 'static> {
    /// The type, as the file names it.
    pub name: &'static str,
    /// The plugins finial has.
    pub built_in: &'static [BuiltIn<T>],
    /// SPIRE's other plugins of this type.
    pub unsupported: &'static [&'static str],
}

/// The plugins of one type that a file configures.
#[derive(Debug)]
pub struct Plugins<T> {
    kind: &'static str,
    list: Vec<T>,
    refused: usize,
}

impl<T> Kind<T> {
    /// Reads the enabled plugins of this type.
    pub fn read(&self, plugins: &mut Section<'_, '_>) -> Plugins<T> {
        let mut found = Plugins { kind: self.name, list: Vec::new(), refused: 0 };
        plugins.section(self.name, |names| {
            names.named_sections(|name, plugin| {
                if !is_enabled(plugin) {
                    return;
                }
                if let Some(again) = name.again {
                    let cause = Cause::PluginTwice {
                        kind: self.name.to_owned(),
                        name: name.text.to_owned(),
                    };
                    report(plugin, again, cause);
                }
                let built_in = self.built_in.iter().find(|(known, _)| *known == name.text);
                if let Some((_, read)) = built_in {
                    plugin.unsupported(EXTERNAL);
                    found.list.push(plugin.table("plugin_data", read));
                } else {
                    plugin.ignore();
                    report(plugin, name.at, self.refusal(name.text));
                    found.refused = found.refused.saturating_add(1);
                }
            });
        });
        found
    }

    fn refusal(&self, name: &str) -> Cause {
        let kind = self.name.to_owned();
        let name = name.to_owned();
        if self.unsupported.contains(&name.as_str()) {
            return Cause::UnsupportedPlugin { kind, name };
        }
        let known = self.built_in.iter().map(|(known, _)| *known);
        let similar = super::similar::nearest(&name, known);
        Cause::UnknownPlugin { kind, name, similar }
    }
}

impl<T> Plugins<T> {
    /// The one plugin that must be configured.
    pub fn exactly_one(self, problems: &mut Problems) -> Option<T> {
        let count = self.list.len().saturating_add(self.refused);
        if count != 1 {
            self.miscounted("exactly 1", count, problems);
        }
        self.list.into_iter().next()
    }

    /// The plugins, of which one at least must be configured.
    pub fn at_least_one(self, problems: &mut Problems) -> Vec<T> {
        if self.list.is_empty() && self.refused == 0 {
            self.miscounted("at least 1", 0, problems);
        }
        self.list
    }

    /// The plugins, if any.
    pub fn any(self) -> Vec<T> {
        self.list
    }

    fn miscounted(&self, expected: &'static str, count: usize, problems: &mut Problems) {
        let cause = Cause::PluginCount { kind: self.kind, expected, count };
        problems.push(format!("plugins.{}", self.kind), None, cause);
    }
}

/// Refuses every enabled plugin of a type that finial does not have at all.
pub fn refuse_kind(plugins: &mut Section<'_, '_>, kind: &'static str) {
    plugins.section(kind, |names| {
        names.named_sections(|name, plugin| {
            if is_enabled(plugin) {
                plugin.ignore();
                let cause =
                    Cause::UnsupportedPlugin { kind: kind.to_owned(), name: name.text.to_owned() };
                report(plugin, name.at, cause);
            }
        });
    });
}

/// A plugin is on unless it says `enabled = false`; then nothing else of it matters.
fn is_enabled(plugin: &mut Section<'_, '_>) -> bool {
    let is_disabled = plugin.boolean("enabled").is_some_and(|enabled| !enabled.value);
    if is_disabled {
        plugin.ignore();
    }
    !is_disabled
}

fn report(plugin: &mut Section<'_, '_>, at: Position, cause: Cause) {
    let path = plugin.path().to_owned();
    plugin.problems().push(path, Some(Origin::File(at)), cause);
}
