//! Numbers of things.

/// `1 agent`, `2 agents`.
pub(super) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// As [`counted`], for a number as SPIRE's API gives it.
pub(super) fn counted_answer(number: i32, one: &str, many: &str) -> String {
    counted(usize::try_from(number).unwrap_or_default(), one, many)
}
