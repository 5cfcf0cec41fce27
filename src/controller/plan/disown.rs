//! Whether an entry that the server has, and nobody wants, is known to be too much.
//!
//! After a restart nobody remembers on whose behalf an entry was made. It is too much only if each object
//! on whose behalf it could have been made is known not to want it.

use super::super::world::{Kind, Phase, Scope};
use super::{outcome::Outcome, state::Plan};
use crate::spiffe::EntrySpec;
use std::fmt;

/// Why an entry that nobody wants may not be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// These lists never came to their end.
    Unlisted(Vec<Scope>),
    /// A ClusterSPIFFEID could never be read.
    UnreadableRule,
    /// A ClusterStaticEntry could never be read, or makes no entry.
    UnreadableStaticEntry,
    /// Something about its pod is not known, or a rule fails for it.
    UndecidedPod,
}

impl Plan {
    /// Why an entry that the server has, and that is not wanted, may be wanted all the same.
    #[must_use]
    pub fn doubt(&self, spec: &EntrySpec) -> Option<Doubt> {
        let Some(uid) = pod_uid(spec) else { return self.doubt_of_static_entries() };
        let unlisted = self.lists.missing(&[Kind::Pods]);
        let Some(pod) = self.cluster.pod(uid) else {
            return (!unlisted.is_empty()).then_some(Doubt::Unlisted(unlisted));
        };
        let unlisted = self.lists.missing(&[Kind::SpiffeIds]);
        if !unlisted.is_empty() {
            return Some(Doubt::Unlisted(unlisted));
        }
        if self.owners.rules.values().any(|state| state.form.is_none()) {
            return Some(Doubt::UnreadableRule);
        }
        if self.is_undecided(uid) || self.dirty.pods.contains_key(&pod.uid) {
            return Some(Doubt::UndecidedPod);
        }
        self.doubt_of_static_entries()
    }

    fn doubt_of_static_entries(&self) -> Option<Doubt> {
        let unlisted = self.lists.missing(&[Kind::StaticEntries]);
        if !unlisted.is_empty() {
            return Some(Doubt::Unlisted(unlisted));
        }
        let mut states = self.owners.static_entries.values();
        let is_mute = states.any(|state| state.problem.is_some() && state.claimed.is_none());
        is_mute.then_some(Doubt::UnreadableStaticEntry)
    }

    fn is_undecided(&self, uid: &str) -> bool {
        let Some(pod) = self.cluster.pod(uid) else { return false };
        if pod.phase == Phase::Ended || self.settings.ignores(&pod.namespace) {
            return false;
        }
        let node = pod.node.as_deref().and_then(|node| self.cluster.node(node));
        if self.cluster.namespace(&pod.namespace).is_none() || node.is_none() {
            return true;
        }
        let outcomes = self.outcomes.of_pod(uid);
        outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Held { kept: None, .. }))
    }
}

/// The UID of the pod that an entry is for, if its selectors name one.
pub(in crate::controller) fn pod_uid(spec: &EntrySpec) -> Option<&str> {
    let of_k8s = spec.selectors.as_slice().iter().filter(|selector| selector.kind() == "k8s");
    of_k8s.filter_map(|selector| selector.value().strip_prefix("pod-uid:")).next()
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlisted(scopes) => {
                let kinds: Vec<_> = scopes.iter().map(ToString::to_string).collect();
                write!(f, "never listed: {}", kinds.join(", "))
            }
            Self::UnreadableRule => f.write_str("a ClusterSPIFFEID could not be read yet"),
            Self::UnreadableStaticEntry => {
                f.write_str("a ClusterStaticEntry could not be read yet")
            }
            Self::UndecidedPod => f.write_str("it is not known what its pod shall have"),
        }
    }
}
