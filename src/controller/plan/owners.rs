//! The custom resources of this controller, each in the last form that could be read.

use super::super::{
    crd::{
        ClusterSpiffeId, ClusterSpiffeIdSpec, ClusterStaticEntry, ClusterStaticEntrySpec, CrdError,
    },
    render::Failure,
    rule::{Rule, RuleError, ServiceNames},
    wanted::{EntryKey, Precedence},
    world::Owner,
};
use std::{collections::BTreeMap, sync::Arc};

/// All custom resources, by name.
#[derive(Debug, Default)]
pub(super) struct Owners {
    pub(super) rules: BTreeMap<Arc<str>, RuleState>,
    pub(super) static_entries: BTreeMap<Arc<str>, StaticState>,
}

/// A ClusterSPIFFEID.
#[derive(Debug, Default)]
pub(super) struct RuleState {
    /// The last form that could be read, if there was one.
    pub(super) form: Option<RuleForm>,
    /// Why the present form cannot be acted upon.
    pub(super) problem: Option<Problem>,
    /// The generation of the present form.
    pub(super) generation: Option<i64>,
}

/// A form of a ClusterSPIFFEID.
#[derive(Debug)]
pub(super) struct RuleForm {
    pub(super) spec: ClusterSpiffeIdSpec,
    pub(super) rule: Arc<Rule>,
}

/// A ClusterStaticEntry.
#[derive(Debug, Default)]
pub(super) struct StaticState {
    /// The last form that could be read, if there was one.
    pub(super) form: Option<StaticForm>,
    /// The entry that is claimed.
    pub(super) claimed: Option<EntryKey>,
    /// Why the present form cannot be acted upon.
    pub(super) problem: Option<Problem>,
    /// The generation of the present form.
    pub(super) generation: Option<i64>,
}

/// A form of a ClusterStaticEntry.
#[derive(Debug)]
pub(super) struct StaticForm {
    pub(super) spec: ClusterStaticEntrySpec,
    pub(super) precedence: Precedence,
}

/// Why a custom resource cannot be acted upon; what it gave before stays.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It does not have the fields of its kind.
    #[error(transparent)]
    Unreadable(#[from] CrdError),
    /// Its fields make no rule.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// Its fields make no entry.
    #[error(transparent)]
    Entry(#[from] Failure),
}

impl Owners {
    /// Takes a ClusterSPIFFEID in, and says whether its rule is another one now.
    pub(super) fn put_rule(&mut self, name: &Arc<str>, object: ClusterSpiffeId) -> bool {
        let state = self.rules.entry(Arc::clone(name)).or_default();
        state.generation = object.metadata.generation;
        let precedence = Precedence::of(&object.metadata);
        // Our own writing of its status comes back too.
        if state.problem.is_none()
            && let Some(form) = &state.form
            && form.spec == object.spec
            && form.rule.precedence == precedence
        {
            return false;
        }
        match Rule::compile(&object) {
            Ok(rule) => {
                state.form = Some(RuleForm { spec: object.spec, rule: Arc::new(rule) });
                state.problem = None;
                true
            }
            Err(error) => {
                state.problem = Some(Problem::Rule(error));
                false
            }
        }
    }

    /// Takes a ClusterStaticEntry in, and says whether it is news.
    pub(super) fn put_static_entry(&mut self, name: &Arc<str>, object: ClusterStaticEntry) -> bool {
        let state = self.static_entries.entry(Arc::clone(name)).or_default();
        state.generation = object.metadata.generation;
        let precedence = Precedence::of(&object.metadata);
        if state.problem.is_none()
            && let Some(form) = &state.form
            && form.spec == object.spec
            && form.precedence == precedence
        {
            return false;
        }
        state.problem = None;
        state.form = Some(StaticForm { spec: object.spec, precedence });
        true
    }

    /// Takes note that the present form of an object cannot be read.
    pub(super) fn put_unreadable(&mut self, owner: &Owner, error: CrdError) {
        match owner {
            Owner::SpiffeId(name) => {
                self.rules.entry(Arc::clone(name)).or_default().problem =
                    Some(Problem::Unreadable(error));
            }
            Owner::StaticEntry(name) => {
                self.static_entries.entry(Arc::clone(name)).or_default().problem =
                    Some(Problem::Unreadable(error));
            }
        }
    }

    /// The rules, in the order of their names.
    pub(super) fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.values().filter_map(|state| Some(&state.form.as_ref()?.rule))
    }

    pub(super) fn add_service_names(&self) -> bool {
        self.rules().any(|rule| rule.service_names == ServiceNames::Added)
    }

    /// Where an owner stands among others. One that is gone comes last.
    pub(super) fn precedence(&self, owner: &Owner) -> (bool, Option<&Precedence>) {
        let precedence = match owner {
            Owner::SpiffeId(name) => {
                let form = self.rules.get(name).and_then(|state| state.form.as_ref());
                form.map(|form| &form.rule.precedence)
            }
            Owner::StaticEntry(name) => {
                let form = self.static_entries.get(name).and_then(|state| state.form.as_ref());
                form.map(|form| &form.precedence)
            }
        };
        (precedence.is_none(), precedence)
    }
}
