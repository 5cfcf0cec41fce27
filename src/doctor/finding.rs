//! One finding, and how findings are shown.

/// Something that the doctor has found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is.
    pub what: String,
    /// The command that leads on, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing to do.
    Well,
    /// The workload does not have what it should.
    Problem,
    /// The caller may not see it, or it makes no sense.
    Unknown,
}

impl Finding {
    /// All is well in this respect.
    #[must_use]
    pub fn well(what: impl Into<String>) -> Self {
        Self { level: Level::Well, what: what.into(), next: None }
    }

    /// A problem, and the command that leads on.
    #[must_use]
    pub fn problem(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { level: Level::Problem, what: what.into(), next: Some(next.into()) }
    }

    /// What cannot be told, and the command that leads on.
    #[must_use]
    pub fn unknown(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { level: Level::Unknown, what: what.into(), next: Some(next.into()) }
    }
}

/// How many names a finding gives.
const NAMED: usize = 5;

/// These names, or the first of them and how many more there are.
pub(super) fn listed(names: &[&str]) -> String {
    let named = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
