//! Both products' figures beside each other, for people and as JSON.

use super::figure::{Figure, Sample};
use crate::{
    harness::{product::Product, row::short},
    load::stats::median,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// What has been measured so far.
#[derive(Debug, Default)]
pub(super) struct Table(BTreeMap<Figure, Samples>);

/// What was measured of one figure, a sample or more for each round.
#[derive(Debug, Default)]
struct Samples {
    spire: Vec<Sample>,
    finial: Vec<Sample>,
}

impl Table {
    /// Adds what `product` made of `figure`.
    pub(super) fn add(&mut self, product: &Product, figure: Figure, sample: Sample) {
        let samples = self.0.entry(figure).or_default();
        match product {
            Product::Spire(_) => samples.spire.push(sample),
            Product::Finial => samples.finial.push(sample),
        }
    }

    /// Whether each figure of finial was measured, and none failed.
    pub(super) fn is_whole(&self) -> bool {
        let finial = |figure| self.0.get(figure).map(|samples| samples.finial.as_slice());
        Figure::ALL.iter().all(|figure| match finial(figure) {
            None | Some([]) => false,
            Some(samples) => samples.iter().all(Result::is_ok),
        })
    }

    /// The rows as JSON; `run` says where and of what they were measured.
    pub(super) fn json(&self, run: &Value) -> Value {
        let rows = self.0.iter().map(|(figure, samples)| {
            json!({
                "what": figure.what(),
                "unit": figure.unit(),
                "spire": raw(&samples.spire),
                "finial": raw(&samples.finial),
                "ratio": samples.ratio(),
            })
        });
        json!({
            "rows": rows.collect::<Vec<_>>(),
            "conditions": Figure::conditions(),
            "run": run,
        })
    }
}

impl Samples {
    /// How many times finial's figure SPIRE's is.
    fn ratio(&self) -> Option<f64> {
        let (spire, finial) = (middle(&self.spire)?, middle(&self.finial)?);
        (finial > 0.0).then(|| spire / finial)
    }

    /// Whose samples failed, and why.
    fn failures(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let both = [("SPIRE", &self.spire), ("finial", &self.finial)];
        both.into_iter().flat_map(|(product, samples)| {
            samples.iter().filter_map(move |sample| Some((product, sample.as_ref().err()?)))
        })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<70} {:>26} {:>26} {:>8}", "what", "SPIRE", "finial", "ratio")?;
        for (figure, samples) in &self.0 {
            let ratio = samples.ratio().map(|ratio| format!("{} ×", short(ratio)));
            writeln!(
                f,
                "{:<70} {:>26} {:>26} {:>8}",
                figure.what(),
                cell(&samples.spire, figure.unit()),
                cell(&samples.finial, figure.unit()),
                ratio.unwrap_or_default(),
            )?;
        }
        // What stopped one figure may have stopped others.
        let mut told = BTreeSet::new();
        for (figure, samples) in &self.0 {
            for (product, reason) in samples.failures() {
                if told.insert((product, reason)) {
                    writeln!(f, "{product}: {}: {reason}", figure.what())?;
                }
            }
        }
        Ok(())
    }
}

/// The middle of the samples that are figures; nothing when one failed.
fn middle(samples: &[Sample]) -> Option<f64> {
    let figures: Vec<f64> =
        samples.iter().map(|s| s.as_ref().ok().copied()).collect::<Option<_>>()?;
    (!figures.is_empty()).then(|| median(&figures))
}

/// The middle with the least and the greatest, or how often there is none and, in a word, why.
fn cell(samples: &[Sample], unit: &str) -> String {
    let mut figures: Vec<f64> = samples.iter().flatten().copied().collect();
    figures.sort_unstable_by(f64::total_cmp);
    if let Some(reason) = samples.iter().find_map(|sample| sample.as_ref().err()) {
        let word = reason.split(':').next().unwrap_or_default();
        return format!("{word}, {} of {}", samples.len() - figures.len(), samples.len());
    }
    match figures.as_slice() {
        [] => "not measured".to_owned(),
        [only] => format!("{} {unit}", short(*only)),
        [least, .., most] => {
            format!("{} ({}–{}) {unit}", short(median(&figures)), short(*least), short(*most))
        }
    }
}

fn raw(samples: &[Sample]) -> Vec<Value> {
    let value = |sample: &Sample| match sample {
        Ok(figure) => json!(figure),
        Err(reason) => json!(reason),
    };
    samples.iter().map(value).collect()
}
