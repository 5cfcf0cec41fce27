//! What a hypervisor took from the machine while something was measured.

use std::fs;

/// Time that the hypervisor gave to others, and time in all, in ticks over all cores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steal {
    stolen: u64,
    all: u64,
}

impl Steal {
    /// The counts now.
    pub(crate) fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let first = stat.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = first.split_whitespace().flat_map(str::parse).collect();
        Self { stolen: ticks.get(7).copied().unwrap_or_default(), all: ticks.iter().sum() }
    }

    /// The share of time stolen since, in percent.
    pub(crate) fn percent_since(self) -> f64 {
        let now = Self::now();
        let all = now.all.saturating_sub(self.all).max(1);
        #[expect(clippy::cast_precision_loss, reason = "a percentage")]
        let percent = now.stolen.saturating_sub(self.stolen) as f64 * 100.0 / all as f64;
        percent
    }
}
