//! Order statistics of small samples.

use std::time::Duration;

/// The smallest sample that `percent` of all do not exceed; zero when there is none.
pub(crate) fn percentile(samples: &[Duration], percent: f64) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank: between one and the number of samples"
    )]
    let rank = (sorted.len() as f64 * percent / 100.0).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// The middle sample, or what lies between the two in the middle; zero when there is none.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len().saturating_sub(1) / 2..=sorted.len() / 2;
    sorted.get(middle).map_or(0.0, |pair| pair.iter().sum::<f64>() / pair.len() as f64)
}
