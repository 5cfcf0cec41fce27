//! Finds the key somebody meant when they mistyped it.

/// The candidate nearest to `word`, if it is near enough to be what was meant: a third of the letters may differ.
pub(super) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let word = word.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| distance.saturating_mul(3) <= candidate.len().max(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits from one word to the other: a letter more, a letter less, another letter (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (removed, letter) in from.chars().enumerate() {
        let mut diagonal = removed;
        let mut left = removed.saturating_add(1);
        for (column, other) in to.iter().enumerate() {
            let Some(above) = row.get(column.saturating_add(1)).copied() else {
                break;
            };
            let replaced = diagonal.saturating_add(usize::from(letter != *other));
            let edits = replaced.min(above.min(left).saturating_add(1));
            if let Some(cell) = row.get_mut(column) {
                *cell = left;
            }
            diagonal = above;
            left = edits;
        }
        if let Some(last) = row.last_mut() {
            *last = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_the_key_and_a_stranger_finds_none() {
        let keys = ["trust_domain", "data_dir", "default_x509_svid_ttl", "ca_ttl"];
        for (word, wanted) in [
            ("trust_domian", Some("trust_domain")),
            ("trustdomain", Some("trust_domain")),
            ("data_di", Some("data_dir")),
            ("default_svid_ttl", Some("default_x509_svid_ttl")),
            ("frobnicate", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), wanted, "{word}");
        }
    }

    #[test]
    fn distance_counts_edits() {
        for (from, to, edits) in
            [("", "", 0), ("abc", "", 3), ("", "ab", 2), ("kitten", "sitting", 3), ("ab", "ab", 0)]
        {
            assert_eq!(distance(from, to), edits, "{from} {to}");
        }
    }
}
