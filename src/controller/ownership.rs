//! Which entries of the server are this controller's, by their identifiers.
//!
//! With a prefix, those whose identifier begins with it. Without one, all of them, as with
//! spire-controller-manager; what was made by hand is then deleted, unless a join token stands behind it.

use crate::spiffe::{Entry, EntryId, entry};
use uuid::Uuid;

/// Which entries are this controller's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    /// With a dot at its end.
    prefix: Option<String>,
    cleanup: Option<Cleanup>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cleanup {
    /// Entries without a prefix.
    Unprefixed,
    /// Entries with this prefix, which has a dot at its end.
    Prefix(String),
}

/// Whose an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// This controller's.
    Us,
    /// Of a prefix whose entries the controller shall remove.
    Former,
    /// Somebody else's: never touched.
    Other,
}

/// Why prefixes make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnershipError {
    /// Every entry would be kept and removed.
    #[error("entryIDPrefixCleanup is {0:?}, as is entryIDPrefix: expected another prefix, or none")]
    SamePrefix(String),
    /// No identifier could begin with it.
    #[error("entryIDPrefix {prefix:?}: {source}")]
    Prefix {
        /// The prefix.
        prefix: String,
        /// Why.
        source: entry::Error,
    },
}

/// SPIRE's aliases of agents that attested by a join token have such a parent.
const JOIN_TOKEN_PARENT: &str = "/spire/agent/join_token/";
/// The type of their selector.
const JOIN_TOKEN_SELECTOR: &str = "spiffe_id";

impl Ownership {
    /// Ownership by `entryIDPrefix` and `entryIDPrefixCleanup`; an empty prefix is none, an empty cleanup
    /// means the entries that have no prefix.
    ///
    /// # Errors
    /// When both are the same, or no identifier could begin with the prefix.
    pub fn new(prefix: &str, cleanup: Option<&str>) -> Result<Self, OwnershipError> {
        let dotted = |text: &str| format!("{}.", text.strip_suffix('.').unwrap_or(text));
        let prefix = Some(prefix).filter(|prefix| !prefix.is_empty()).map(dotted);
        let cleanup = cleanup.map(|cleanup| match cleanup {
            "" => Cleanup::Unprefixed,
            other => Cleanup::Prefix(dotted(other)),
        });
        match (&prefix, &cleanup) {
            (Some(one), Some(Cleanup::Prefix(other))) if one == other => {
                return Err(OwnershipError::SamePrefix(one.clone()));
            }
            (Some(prefix), _) => {
                EntryId::parse(&format!("{prefix}{}", Uuid::nil()))
                    .map_err(|source| OwnershipError::Prefix { prefix: prefix.clone(), source })?;
            }
            (None, _) => {}
        }
        Ok(Self { prefix, cleanup })
    }

    /// Whose an entry is.
    #[must_use]
    pub fn holder(&self, entry: &Entry) -> Holder {
        if is_of_join_token(entry) {
            return Holder::Other;
        }
        let id = entry.id.as_str();
        let Some(prefix) = &self.prefix else { return Holder::Us };
        if id.starts_with(prefix) {
            return Holder::Us;
        }
        match &self.cleanup {
            Some(Cleanup::Unprefixed) if !id.contains('.') => Holder::Former,
            Some(Cleanup::Prefix(former)) if id.starts_with(former) => Holder::Former,
            _ => Holder::Other,
        }
    }

    /// The identifier for a new entry; without a prefix the server chooses.
    #[must_use]
    pub fn new_id(&self, uuid: Uuid) -> Option<EntryId> {
        let prefix = self.prefix.as_ref()?;
        EntryId::parse(&format!("{prefix}{uuid}")).ok()
    }
}

fn is_of_join_token(entry: &Entry) -> bool {
    let mut selectors = entry.spec.selectors.as_slice().iter();
    entry.spec.parent_id.path().starts_with(JOIN_TOKEN_PARENT)
        && selectors.any(|selector| selector.kind() == JOIN_TOKEN_SELECTOR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::ledger::tests::entry;

    fn holders(ownership: &Ownership, ids: &[&str]) -> Vec<Holder> {
        let of = |id: &&str| ownership.holder(&entry(id, "spiffe://d/x", "k8s:pod-uid:u"));
        ids.iter().map(of).collect()
    }

    #[test]
    fn a_prefix_owns_what_begins_with_it_and_a_dot() {
        let ids = ["c1.x", "c1x", "c2.x", "by-hand"];
        let own = |cleanup| Ownership::new("c1", cleanup).unwrap();
        use Holder::{Former, Other, Us};
        assert_eq!(holders(&own(None), &ids), [Us, Other, Other, Other]);
        assert_eq!(holders(&own(Some("")), &ids), [Us, Former, Other, Former]);
        assert_eq!(holders(&own(Some("c2")), &ids), [Us, Other, Former, Other]);
        assert_eq!(holders(&Ownership::default(), &ids), [Us, Us, Us, Us]);
    }

    #[test]
    fn aliases_of_join_tokens_are_never_ours() {
        let mut alias = entry("x", "spiffe://d/alias", "spiffe_id:spiffe://d/spire/agent/j");
        alias.spec.parent_id =
            crate::spiffe::SpiffeId::parse("spiffe://d/spire/agent/join_token/7172").unwrap();
        assert_eq!(Ownership::default().holder(&alias), Holder::Other);
        alias.spec.selectors =
            [crate::spiffe::Selector::parse("unix:uid:1").unwrap()].into_iter().collect();
        assert_eq!(Ownership::default().holder(&alias), Holder::Us);
    }

    #[test]
    fn new_identifiers_have_the_prefix() {
        let ownership = Ownership::new("c1.", None).unwrap();
        let id = ownership.new_id(Uuid::nil()).unwrap();
        assert_eq!(id.as_str(), "c1.00000000-0000-0000-0000-000000000000");
        assert_eq!(Ownership::default().new_id(Uuid::nil()), None);
    }

    #[test]
    fn prefixes_that_make_no_sense_are_refused() {
        assert!(matches!(Ownership::new("a", Some("a.")), Err(OwnershipError::SamePrefix(_))));
        assert!(matches!(Ownership::new("a b", None), Err(OwnershipError::Prefix { .. })));
    }
}
