//! Which entries a listing wants (server.md §1.8).

use crate::spiffe::{Entry, SelectorSet, SpiffeId, TrustDomain};
use std::{collections::BTreeSet, sync::Arc};

/// What an entry must be, all of it; the default takes every entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Gives this identity.
    pub spiffe_id: Option<SpiffeId>,
    /// Is under this parent.
    pub parent_id: Option<SpiffeId>,
    /// Its selectors compare so with these.
    pub selectors: Option<(SelectorSet, Comparison)>,
    /// The trust domains that it federates with compare so with these; it must federate at all.
    pub federates_with: Option<(BTreeSet<TrustDomain>, Comparison)>,
    /// Has this hint.
    pub hint: Option<String>,
    /// Is a downstream entry.
    pub only_downstream: OnlyDownstream,
}

/// Whether a listing is of downstream entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnlyDownstream {
    /// Of all entries.
    #[default]
    No,
    /// Of downstream entries.
    Yes,
}

/// How an entry's set compares with a given one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The same.
    Exact,
    /// A part of it.
    Subset,
    /// It and maybe more.
    Superset,
    /// Something in common.
    Any,
}

impl Filter {
    /// Whether `entry` is wanted.
    #[must_use]
    pub fn accepts(&self, entry: &Entry) -> bool {
        let spec = &entry.spec;
        self.spiffe_id.as_ref().is_none_or(|id| *id == spec.spiffe_id)
            && self.parent_id.as_ref().is_none_or(|id| *id == spec.parent_id)
            && self.hint.as_ref().is_none_or(|hint| hint == spec.hint.as_str())
            && (self.only_downstream == OnlyDownstream::No || spec.downstream)
            && self.selectors.as_ref().is_none_or(|(given, comparison)| {
                let common = spec.selectors.as_slice().iter().filter(|s| given.contains(s)).count();
                comparison.holds(spec.selectors.len(), given.len(), common)
            })
            && self.federates_with.as_ref().is_none_or(|(given, comparison)| {
                let own: BTreeSet<_> = spec.federates_with.iter().collect();
                let common = own.iter().filter(|domain| given.contains(**domain)).count();
                comparison.holds(own.len(), given.len(), common)
            })
    }

    /// Those of `entries` that are wanted.
    #[must_use]
    pub fn keep(&self, mut entries: Vec<(i64, Arc<Entry>)>) -> Vec<(i64, Arc<Entry>)> {
        entries.retain(|(_, entry)| self.accepts(entry));
        entries
    }
}

impl Comparison {
    /// Compares a set of `own` elements with one of `given`, of which both have `common`.
    const fn holds(self, own: usize, given: usize, common: usize) -> bool {
        // SPIRE 1.15: an empty set is a part of none.
        common > 0
            && match self {
                Self::Exact => own == common && given == common,
                Self::Subset => own == common,
                Self::Superset => given == common,
                Self::Any => true,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_compare_as_their_names_say() {
        use Comparison::{Any, Exact, Subset, Superset};
        // own, given, common, and the comparisons that hold
        for (own, given, common, holding) in [
            (2, 2, 2, &[Exact, Subset, Superset, Any][..]),
            (1, 2, 1, &[Subset, Any]),
            (2, 1, 1, &[Superset, Any]),
            (2, 2, 1, &[Any]),
            (2, 2, 0, &[]),
            (0, 2, 0, &[]),
        ] {
            for comparison in [Exact, Subset, Superset, Any] {
                let holds = comparison.holds(own, given, common);
                assert_eq!(holds, holding.contains(&comparison), "{own} {given} {comparison:?}");
            }
        }
    }
}
