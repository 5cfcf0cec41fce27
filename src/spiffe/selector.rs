//! Selectors: what attestation found out about a caller, and what an entry demands of it.

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    str::FromStr,
    sync::{Arc, LazyLock},
};

/// One fact, such as `unix:uid:1000`: a type, a colon, a value.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selector {
    text: Arc<str>,
    colon_at: usize,
}

/// A set of selectors in one canonical order, so that equal sets are equal values.
#[derive(Clone)]
pub struct SelectorSet {
    sorted: Arc<[Selector]>,
    /// Of `sorted`: a set is looked up several times for each stream, and hashed once.
    hash: u64,
}

/// Why a text is not a selector. The texts are SPIRE's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No colon at all.
    #[error("selector {0:?} must be formatted as type:value")]
    Format(String),
    /// Nothing before the colon.
    #[error("selector type is empty")]
    EmptyType,
    /// A colon within the type: it would be read back as another selector.
    #[error("selector type {0:?} contains ':'")]
    ColonInType(String),
    /// Nothing after the colon.
    #[error("selector value is empty")]
    EmptyValue,
    /// Longer than any attestor produces.
    #[error("selector {what} has {length} bytes, expected at most {limit}")]
    TooLong {
        /// `type` or `value`.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

/// Limits of B-REG; SPIRE's database columns end at 255 bytes.
const MAX_TYPE_BYTES: usize = 255;
const MAX_VALUE_BYTES: usize = 4096;

impl Selector {
    /// A selector from its two halves.
    ///
    /// # Errors
    /// When a half is empty or too long, or the type contains a colon.
    pub fn new(kind: &str, value: &str) -> Result<Self, Error> {
        if kind.is_empty() {
            return Err(Error::EmptyType);
        }
        if kind.contains(':') {
            return Err(Error::ColonInType(kind.to_owned()));
        }
        if value.is_empty() {
            return Err(Error::EmptyValue);
        }
        for (what, length, limit) in
            [("type", kind.len(), MAX_TYPE_BYTES), ("value", value.len(), MAX_VALUE_BYTES)]
        {
            if length > limit {
                return Err(Error::TooLong { what, length, limit });
            }
        }
        Ok(Self { text: [kind, ":", value].concat().into(), colon_at: kind.len() })
    }

    /// Parses `type:value`, split at the first colon.
    ///
    /// # Errors
    /// When it has no colon or a half is not valid.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (kind, value) = text.split_once(':').ok_or_else(|| Error::Format(text.to_owned()))?;
        Self::new(kind, value)
    }

    /// The part before the first colon: which attestor says so.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.text.get(..self.colon_at).unwrap_or_default()
    }

    /// The part after the first colon.
    #[must_use]
    pub fn value(&self) -> &str {
        self.text.get(self.colon_at + 1..).unwrap_or_default()
    }

    /// `type:value`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl SelectorSet {
    /// The selectors in canonical order.
    #[must_use]
    pub fn as_slice(&self) -> &[Selector] {
        &self.sorted
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Whether `selector` is in the set.
    #[must_use]
    pub fn contains(&self, selector: &Selector) -> bool {
        self.sorted.binary_search(selector).is_ok()
    }

    /// Whether every selector of this set is also in `other`.
    #[must_use]
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.sorted.iter().all(|selector| other.contains(selector))
    }
}

impl FromIterator<Selector> for SelectorSet {
    fn from_iter<I: IntoIterator<Item = Selector>>(selectors: I) -> Self {
        let mut sorted: Vec<_> = selectors.into_iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        // Keyed anew by each process: values of selectors may be chosen by whom they describe.
        static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let hash = KEYS.hash_one(&sorted);
        Self { sorted: sorted.into(), hash }
    }
}

impl Default for SelectorSet {
    fn default() -> Self {
        Self::from_iter([])
    }
}

impl Hash for SelectorSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for SelectorSet {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.sorted, &other.sorted)
            || (self.hash == other.hash && self.sorted == other.sorted)
    }
}

impl Eq for SelectorSet {}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SelectorSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sorted.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_splits_at_its_first_colon() {
        let selector = Selector::parse("k8s:pod-label:app:web").unwrap();
        assert_eq!((selector.kind(), selector.value()), ("k8s", "pod-label:app:web"));
        assert_eq!(Selector::new("k8s", "pod-label:app:web").unwrap(), selector);
    }

    #[test]
    fn malformed_selectors_are_refused_with_the_reason() {
        let refused = |text: &str| Selector::parse(text).unwrap_err();
        assert_eq!(
            refused("nocolon").to_string(),
            r#"selector "nocolon" must be formatted as type:value"#
        );
        assert_eq!(refused(":x"), Error::EmptyType);
        assert_eq!(refused("unix:"), Error::EmptyValue);
        assert_eq!(Selector::new("a:b", "c"), Err(Error::ColonInType("a:b".to_owned())));
        assert!(matches!(
            refused(&format!("unix:{}", "x".repeat(4097))),
            Error::TooLong { what: "value", length: 4097, limit: 4096 }
        ));
    }

    #[test]
    fn sets_ignore_order_and_repetition() {
        let set = |texts: &[&str]| -> SelectorSet {
            texts.iter().map(|text| Selector::parse(text).unwrap()).collect()
        };
        assert_eq!(set(&["a:1", "b:2", "a:1"]), set(&["b:2", "a:1"]));
        assert!(set(&["a:1"]).is_subset_of(&set(&["b:2", "a:1"])));
        assert!(!set(&["a:1", "c:3"]).is_subset_of(&set(&["b:2", "a:1"])));
    }
}
