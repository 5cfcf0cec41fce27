//! An Envoy's counters and gauges at one moment.

use super::{Admin, AdminError};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Counters and gauges by name. Envoy leaves out what was never used, so a missing one is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats(BTreeMap<String, u64>);

impl Stats {
    /// Reads them all. Dropping it is safe.
    ///
    /// # Errors
    /// When Envoy does not answer.
    pub async fn read(admin: &Admin) -> Result<Self, AdminError> {
        let answer: Answer = admin.get_json("/stats?format=json&type=Counters").await?;
        let gauges: Answer = admin.get_json("/stats?format=json&type=Gauges").await?;
        let named = answer.stats.into_iter().chain(gauges.stats);
        Ok(Self(named.filter_map(|stat| Some((stat.name?, stat.value?))).collect()))
    }

    /// The value of `name`.
    #[must_use]
    pub fn value(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Everything whose name contains `part` and whose value is not 0.
    pub fn nonzero<'a>(&'a self, part: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
        let found = self.0.iter().filter(move |(name, value)| name.contains(part) && **value > 0);
        found.map(|(name, value)| (name.as_str(), *value))
    }

    /// The sum of everything whose name ends in `end`.
    #[must_use]
    pub fn sum_of(&self, end: &str) -> u64 {
        self.0.iter().filter(|(name, _)| name.ends_with(end)).map(|(_, value)| value).sum()
    }
}

#[derive(Deserialize)]
struct Answer {
    stats: Vec<Stat>,
}

/// Histograms come in the same list, without a name of their own.
#[derive(Deserialize)]
struct Stat {
    name: Option<String>,
    value: Option<u64>,
}
