//! One measured figure beside its limit and its bound, as a line of a table and as JSON.

use super::stats::median;
use serde_json::{Map, Value, json};
use std::fmt;

/// A figure and what it must be.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    promise: &'static str,
    what: String,
    value: f64,
    unit: &'static str,
    limit: Option<f64>,
    bound: Bound,
    void: Vec<String>,
    details: Map<String, Value>,
}

/// A figure and its raw limit, measured one right after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    /// What the product took.
    pub(crate) measured: f64,
    /// What it cannot do without.
    pub(crate) limit: f64,
}

/// What a figure must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// No more than so many times the raw limit measured in the same run.
    TimesLimit(f64),
    /// Reported only.
    None,
}

/// Whether a promise was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was.
    Held,
    /// It was not.
    Broken,
    /// The run proves nothing, for this reason.
    Void(String),
    /// Nothing was promised.
    Reported,
}

impl Row {
    /// A figure that is only reported, until it gets a bound.
    pub(crate) fn new(
        promise: &'static str,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
    ) -> Self {
        Self {
            promise,
            what: what.into(),
            value,
            unit,
            limit: None,
            bound: Bound::None,
            void: Vec::new(),
            details: Map::new(),
        }
    }

    /// A figure measured several times, each time beside its raw limit. The value is the middle limit
    /// times the middle ratio, so that a drift of the machine's speed during the run does not decide.
    pub(crate) fn paired(
        promise: &'static str,
        what: impl Into<String>,
        pairs: &[Pair],
        unit: &'static str,
    ) -> Self {
        let limits: Vec<_> = pairs.iter().map(|pair| pair.limit).collect();
        let ratios: Vec<_> = pairs.iter().map(|pair| pair.measured / pair.limit).collect();
        let limit = median(&limits);
        Self::new(promise, what, limit * median(&ratios), unit)
            .limit(limit)
            .detail("pairs", pairs.len())
            .detail("least_ratio", ratios.iter().copied().fold(f64::INFINITY, f64::min))
            .detail("largest_ratio", ratios.iter().copied().fold(0.0, f64::max))
    }

    /// Sets the raw limit, in the same unit, measured in the same run.
    pub(crate) const fn limit(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Sets what the figure must be.
    pub(crate) const fn bound(mut self, bound: Bound) -> Self {
        self.bound = bound;
        self
    }

    /// Adds something that the JSON line says besides.
    pub(crate) fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Makes the row prove nothing if there is a reason.
    pub(crate) fn void(mut self, reason: Option<String>) -> Self {
        self.void.extend(reason);
        self
    }

    /// Whether the promise was kept.
    pub(crate) fn verdict(&self) -> Verdict {
        if let Some(reason) = self.void.first() {
            return Verdict::Void(reason.clone());
        }
        let is_held = match (self.bound, self.ratio()) {
            (Bound::None, _) => return Verdict::Reported,
            (Bound::AtMost(most), _) => self.value <= most,
            (Bound::AtLeast(least), _) => self.value >= least,
            (Bound::TimesLimit(times), Some(ratio)) => ratio <= times,
            (Bound::TimesLimit(_), None) => return Verdict::Void("no raw limit".to_owned()),
        };
        if is_held { Verdict::Held } else { Verdict::Broken }
    }

    /// The row as JSON; `run` says where it was measured.
    pub(crate) fn json(&self, run: &Value) -> Value {
        json!({
            "promise": self.promise,
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "limit": self.limit,
            "ratio": self.ratio(),
            "bound": self.bound_text(),
            "verdict": self.verdict().to_string(),
            "details": self.details,
            "run": run,
        })
    }

    fn ratio(&self) -> Option<f64> {
        self.limit.filter(|limit| *limit > 0.0).map(|limit| self.value / limit)
    }

    fn bound_text(&self) -> String {
        match self.bound {
            Bound::AtMost(most) => format!("≤ {} {}", short(most), self.unit),
            Bound::AtLeast(least) => format!("≥ {} {}", short(least), self.unit),
            Bound::TimesLimit(times) => format!("≤ {times:.1} ×"),
            Bound::None => String::new(),
        }
    }
}

impl Verdict {
    /// Whether a run with this in it has failed.
    pub(crate) const fn is_failure(&self) -> bool {
        matches!(self, Self::Broken | Self::Void(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("held"),
            Self::Broken => f.write_str("BROKEN"),
            Self::Void(reason) => write!(f, "VOID: {reason}"),
            Self::Reported => f.write_str("-"),
        }
    }
}

/// The heading of the table that rows print themselves as.
pub(crate) fn heading() -> String {
    format!(
        "{:<18} {:<58} {:>16} {:>12} {:>7}  {:<14} {}",
        "promise", "what", "measured", "raw limit", "ratio", "bound", "verdict"
    )
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit.map(short).unwrap_or_default();
        let ratio = self.ratio().map(|ratio| format!("{ratio:.2} ×")).unwrap_or_default();
        write!(
            f,
            "{:<18} {:<58} {:>16} {limit:>12} {ratio:>7}  {:<14} {}",
            self.promise,
            self.what,
            format!("{} {}", short(self.value), self.unit),
            self.bound_text(),
            self.verdict()
        )
    }
}

/// Three digits are what these measurements are worth.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 1.0 => format!("{value:.3}"),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
