//! Puts what a pod gives in place of what it gave before, and changes the claims with it.

use super::super::{wanted::Wanted, world::Owner};
use super::{delta::Evidence, outcome::Outcome, state::Plan};
use std::sync::Arc;

/// What a rule gives for a pod: what became of it, and the entry if there is one.
pub(super) type Given = (Arc<str>, Outcome, Option<Wanted>);

/// Puts what a pod gives in place of what it gave before.
pub(super) fn put_outcomes(plan: &mut Plan, uid: &Arc<str>, given: Vec<Given>, evidence: Evidence) {
    let outcomes = given.iter().map(|(rule, outcome, _)| (Arc::clone(rule), outcome.clone()));
    let former = plan.outcomes.replace(uid, outcomes.collect());
    for (rule, outcome) in &former {
        plan.dirty.touched.insert(Owner::SpiffeId(Arc::clone(rule)));
        let still = given.iter().find(|(name, ..)| name == rule).and_then(|(_, now, _)| now.key());
        if let Some(key) = outcome.key().filter(|key| still != Some(*key)) {
            plan.claims.withdraw(key, &Owner::SpiffeId(Arc::clone(rule)), evidence);
        }
    }
    for (rule, outcome, wanted) in given {
        plan.dirty.touched.insert(Owner::SpiffeId(rule));
        match (outcome.key(), wanted) {
            (Some(key), Some(wanted)) => plan.claims.claim(key, wanted),
            (Some(key), None) => plan.claims.touch(key, Evidence::Seen),
            (None, _) => {}
        }
    }
}
