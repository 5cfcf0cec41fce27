//! Which lists have come to their end, and what those under way have not told of yet.

use super::super::{
    settings::{Acted, Settings},
    world::{Kind, Scope},
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

/// The lists of a plan.
#[derive(Debug)]
pub(super) struct Lists {
    expected: Vec<Scope>,
    ended: BTreeSet<Scope>,
    renounced: BTreeSet<Kind>,
    /// What was known when a list began, less what it told of.
    open: HashMap<Scope, HashSet<Arc<str>>>,
}

impl Lists {
    pub(super) fn new(settings: &Settings) -> Self {
        let is_acted_upon = |kind: &Kind| match kind {
            Kind::SpiffeIds => settings.spiffe_ids == Acted::Upon,
            Kind::StaticEntries => settings.static_entries == Acted::Upon,
            _ => true,
        };
        let scopes = |kind| match kind {
            Kind::Pods | Kind::Endpoints if !settings.pod_namespaces.is_empty() => {
                let namespaces = settings.pod_namespaces.iter();
                namespaces.map(|name| Scope { kind, namespace: Some(Arc::clone(name)) }).collect()
            }
            _ => vec![Scope::all(kind)],
        };
        Self {
            expected: Kind::ALL.into_iter().filter(is_acted_upon).flat_map(scopes).collect(),
            ended: BTreeSet::new(),
            renounced: BTreeSet::new(),
            open: HashMap::new(),
        }
    }

    pub(super) fn begin(&mut self, scope: Scope, known: HashSet<Arc<str>>) {
        self.renounced.remove(&scope.kind);
        self.open.insert(scope, known);
    }

    /// What the list did not tell of. A list that never began tells nothing.
    pub(super) fn end(&mut self, scope: Scope) -> HashSet<Arc<str>> {
        let Some(absent) = self.open.remove(&scope) else { return HashSet::new() };
        self.ended.insert(scope);
        absent
    }

    /// An object is there, or its end is known already.
    pub(super) fn tell(&mut self, kind: Kind, id: &Arc<str>) {
        for (_, absent) in self.open.iter_mut().filter(|(scope, _)| scope.kind == kind) {
            absent.remove(id);
        }
    }

    pub(super) fn renounce(&mut self, kind: Kind) {
        self.open.retain(|scope, _| scope.kind != kind);
        self.renounced.insert(kind);
    }

    pub(super) fn is_complete(&self, kind: Kind) -> bool {
        self.missing(&[kind]).is_empty()
    }

    pub(super) fn missing(&self, kinds: &[Kind]) -> Vec<Scope> {
        let is_missing = |scope: &&Scope| {
            kinds.contains(&scope.kind)
                && !self.ended.contains(scope)
                && !self.renounced.contains(&scope.kind)
        };
        self.expected.iter().filter(is_missing).cloned().collect()
    }
}
