//! What became of each pod under each rule that selects it.

use super::super::{render::Failure, wanted::EntryKey};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// What became of a pod under a rule.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// It gives an entry.
    Entry(EntryKey),
    /// It gives none at present; the one it gave before stays.
    Held {
        /// The one it gave before.
        kept: Option<EntryKey>,
        /// Why.
        why: Why,
    },
    /// It gives none that could ever match.
    Contradicted,
}

/// Why a rule that selects a pod gives no entry.
#[derive(Clone, Debug)]
pub(super) enum Why {
    /// Something that it needs is not known yet.
    Waiting,
    /// Somebody has to change something.
    Failing(Arc<Failure>),
}

/// How the pods of a rule fare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) selected: usize,
    pub(super) failing: usize,
    pub(super) waiting: usize,
    pub(super) contradicted: usize,
}

/// The outcome of a pod under the rule of this name.
type Ruled = (Arc<str>, Outcome);

/// All outcomes, with their counts.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    /// Boxed, for a vector keeps room for more.
    by_pod: HashMap<Arc<str>, Box<[Ruled]>>,
    tallies: BTreeMap<Arc<str>, Tally>,
    failing: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
}

impl Outcome {
    /// The entry that is claimed.
    pub(super) const fn key(&self) -> Option<EntryKey> {
        match self {
            Self::Entry(key) => Some(*key),
            Self::Held { kept, .. } => *kept,
            Self::Contradicted => None,
        }
    }
}

impl Outcomes {
    /// Puts the outcomes of a pod, by the names of its rules, in place of the former ones.
    pub(super) fn replace(&mut self, uid: &Arc<str>, outcomes: Vec<Ruled>) -> Vec<Ruled> {
        for (rule, outcome) in &outcomes {
            let tally = self.tallies.entry(Arc::clone(rule)).or_default();
            tally.selected += 1;
            if let Some(count) = tally.place(outcome) {
                *count += 1;
            }
            if outcome.failure().is_some() {
                self.failing.entry(Arc::clone(rule)).or_default().insert(Arc::clone(uid));
            }
        }
        let former = if outcomes.is_empty() {
            self.by_pod.remove(uid)
        } else {
            self.by_pod.insert(Arc::clone(uid), outcomes.into_boxed_slice())
        };
        let former = former.unwrap_or_default().into_vec();
        for (rule, outcome) in &former {
            self.uncount(uid, rule, outcome);
        }
        former
    }

    fn uncount(&mut self, uid: &Arc<str>, rule: &Arc<str>, outcome: &Outcome) {
        if let Some(tally) = self.tallies.get_mut(rule) {
            tally.selected -= 1;
            if let Some(count) = tally.place(outcome) {
                *count -= 1;
            }
            if tally.selected == 0 {
                self.tallies.remove(rule);
            }
        }
        let is_failing =
            self.of_pod(uid).iter().any(|(other, o)| other == rule && o.failure().is_some());
        if is_failing {
            return;
        }
        if let Some(uids) = self.failing.get_mut(rule) {
            uids.remove(uid);
            if uids.is_empty() {
                self.failing.remove(rule);
            }
        }
    }

    pub(super) fn of_pod(&self, uid: &str) -> &[Ruled] {
        self.by_pod.get(uid).map_or(&[], |outcomes| outcomes)
    }

    /// The pods that a rule selects.
    pub(super) fn pods_of(&self, rule: &str) -> Vec<Arc<str>> {
        let has = |outcomes: &[Ruled]| outcomes.iter().any(|(name, _)| **name == *rule);
        let of = self.by_pod.iter().filter(|(_, outcomes)| has(outcomes));
        of.map(|(uid, _)| Arc::clone(uid)).collect()
    }

    /// The pods for which a rule waits.
    pub(super) fn waiting(&self, rule: &str) -> Vec<Arc<str>> {
        let waits = |(name, outcome): &Ruled| {
            **name == *rule && matches!(outcome, Outcome::Held { why: Why::Waiting, .. })
        };
        let of = self.by_pod.iter().filter(|(_, outcomes)| outcomes.iter().any(waits));
        of.map(|(uid, _)| Arc::clone(uid)).collect()
    }

    pub(super) fn tally(&self, rule: &str) -> Tally {
        self.tallies.get(rule).copied().unwrap_or_default()
    }

    /// The pods for which a rule fails, with the reason.
    pub(super) fn failing<'a>(
        &'a self,
        rule: &'a str,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Failure)> {
        self.failing.get(rule).into_iter().flatten().filter_map(move |uid| {
            let (_, outcome) = self.of_pod(uid).iter().find(|(name, _)| **name == *rule)?;
            Some((uid, outcome.failure()?))
        })
    }
}

impl Outcome {
    fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Held { why: Why::Failing(failure), .. } => Some(failure),
            _ => None,
        }
    }
}

impl Tally {
    /// Where an outcome is counted; entries are counted where they are claimed.
    const fn place(&mut self, outcome: &Outcome) -> Option<&mut usize> {
        match outcome {
            Outcome::Held { why: Why::Failing(_), .. } => Some(&mut self.failing),
            Outcome::Held { why: Why::Waiting, .. } => Some(&mut self.waiting),
            Outcome::Contradicted => Some(&mut self.contradicted),
            Outcome::Entry(_) => None,
        }
    }
}
