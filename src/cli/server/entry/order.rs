//! The order in which entries are shown, which is SPIRE's (its `util.SortTypesEntries`).

use crate::wire::proto::spire::api::types::Entry;

/// Sorts the selectors of each entry, then the entries: by SPIFFE ID, parent, lifetimes, selectors.
pub(super) fn sort(entries: &mut [Entry]) {
    for entry in entries.iter_mut() {
        entry.selectors.sort_by(|a, b| (&a.r#type, &a.value).cmp(&(&b.r#type, &b.value)));
    }
    entries.sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| selectors(a).cmp(selectors(b))));
}

type Key<'e> = (Option<(&'e str, &'e str)>, Option<(&'e str, &'e str)>, i32, i32, usize);

fn key(entry: &Entry) -> Key<'_> {
    let id = entry.spiffe_id.as_ref().map(|id| (id.trust_domain.as_str(), id.path.as_str()));
    let parent = entry.parent_id.as_ref().map(|id| (id.trust_domain.as_str(), id.path.as_str()));
    (id, parent, entry.x509_svid_ttl, entry.jwt_svid_ttl, entry.selectors.len())
}

fn selectors(entry: &Entry) -> impl Iterator<Item = (&str, &str)> {
    entry.selectors.iter().map(|selector| (selector.r#type.as_str(), selector.value.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::proto::spire::api::types::{Selector, Spiffeid};

    fn entry(path: &str, ttl: i32, selectors: &[&str]) -> Entry {
        let spiffe_id = Spiffeid { trust_domain: "td".to_owned(), path: path.to_owned() };
        let selectors = selectors
            .iter()
            .map(|value| Selector { r#type: "unix".to_owned(), value: (*value).to_owned() })
            .collect();
        Entry { spiffe_id: Some(spiffe_id), x509_svid_ttl: ttl, selectors, ..Entry::default() }
    }

    #[test]
    fn entries_are_ordered_by_id_then_life_then_number_of_selectors() {
        let expected = [
            entry("/a", 0, &["z"]),
            entry("/a", 0, &["a", "b"]),
            entry("/a", 5, &["a"]),
            entry("/b", 0, &["a"]),
            entry("/b", 0, &["b"]),
        ];
        let mut shuffled = [4, 1, 3, 0, 2].map(|index: usize| expected[index].clone());
        shuffled[1].selectors.reverse();
        sort(&mut shuffled);
        assert_eq!(shuffled, expected);
    }
}
