//! Who may do what, and who has applied which key of an object's `data`.

use super::store::Refusal;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What is forbidden.
#[derive(Default)]
pub(super) struct Rights(BTreeSet<(String, String)>);

impl Rights {
    /// From now on nobody may do this.
    pub(super) fn forbid(&mut self, verb: &str, path: &str) {
        self.0.insert((verb.to_owned(), path.to_owned()));
    }

    /// It may be done again.
    pub(super) fn allow(&mut self, verb: &str, path: &str) {
        self.0.remove(&(verb.to_owned(), path.to_owned()));
    }

    pub(super) fn check(&self, verb: &str, path: &str) -> Result<(), Refusal> {
        if self.0.contains(&(verb.to_owned(), path.to_owned())) {
            return Err(Refusal(403, format!("{path} is forbidden: cannot {verb} resource")));
        }
        Ok(())
    }
}

/// The field managers of the keys of `data`, by path and key.
#[derive(Default)]
pub(super) struct Owners(BTreeMap<(String, String), BTreeSet<String>>);

/// A server-side apply of `data`.
pub(super) struct Apply<'a> {
    pub(super) path: &'a str,
    pub(super) manager: &'a str,
    /// What another manager owns is taken over.
    pub(super) force: bool,
}

impl Owners {
    /// Puts `wanted` over `data`: takes keys over, refuses what is another's, and removes what the manager
    /// no longer applies.
    pub(super) fn apply(
        &mut self,
        apply: &Apply<'_>,
        data: &mut Map<String, Value>,
        wanted: &Map<String, Value>,
    ) -> Result<(), Refusal> {
        for (key, value) in wanted {
            let owners = self.0.entry((apply.path.to_owned(), key.clone())).or_default();
            let is_others = !owners.is_empty() && !owners.contains(apply.manager);
            if data.get(key) != Some(value) {
                if is_others && !apply.force {
                    return Err(Refusal(409, format!("conflict with {owners:?}: .data.{key}")));
                }
                owners.clear();
            }
            owners.insert(apply.manager.to_owned());
            data.insert(key.clone(), value.clone());
        }
        for ((_, key), owners) in self.0.iter_mut().filter(|((of, _), _)| of == apply.path) {
            if !wanted.contains_key(key) && owners.remove(apply.manager) && owners.is_empty() {
                data.remove(key);
            }
        }
        Ok(())
    }
}
