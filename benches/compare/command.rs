//! `compare`: which SPIRE, how many rounds, and the report.

use super::{figure::Figure, round, table::Table};
use crate::{
    harness::{machine, product::Product, steal::Steal},
    load::command::Output,
};
use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use std::{num::NonZeroU32, path::PathBuf};
use tokio::time::Instant;

/// Put the same load on a real SPIRE and on finial, in turn, and report both beside each other.
#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// The folder with SPIRE's `spire-server` and `spire-agent`.
    #[arg(long, env = "SPIRE_BIN_DIR", value_name = "FOLDER")]
    spire: PathBuf,
    /// How many rounds; each starts both products afresh and takes two minutes.
    #[arg(long, default_value = "2")]
    rounds: NonZeroU32,
    /// How to report.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// More than this was somebody else's machine.
const MOST_STOLEN_PERCENT: f64 = 5.0;

impl Compare {
    /// Runs the comparison; whether finial did all that it was asked, on a machine that it had to itself.
    /// What SPIRE did not do is a result.
    pub(crate) async fn run(self) -> anyhow::Result<bool> {
        let products = [Product::Spire(self.spire), Product::Finial];
        let heading = heading(&products, self.rounds)?;
        let (steal, started) = (Steal::now(), Instant::now());
        let (mut table, mut is_right) = (Table::default(), true);
        for number in 1..=self.rounds.get() {
            for product in &products {
                eprintln!("round {number}: {product}");
                let record = &mut |figure: Figure, sample| table.add(product, figure, sample);
                if let Err(error) = round::run(product, record).await {
                    eprintln!("round {number}: {product}: {error:#}");
                    is_right &= *product != Product::Finial;
                }
            }
        }
        let (stolen, seconds) = (steal.percent_since(), started.elapsed().as_secs_f64());
        match self.output {
            Output::Text => {
                println!("{heading}\n{table}");
                println!("{stolen:.1} % of the CPU was stolen in {seconds:.0} s.");
            }
            Output::Json => {
                let run = json!({
                    "heading": heading,
                    "machine": machine::description(),
                    "stolen_percent": stolen,
                    "secs": seconds,
                });
                println!("{}", table.json(&run));
            }
        }
        Ok(is_right && table.is_whole() && stolen <= MOST_STOLEN_PERCENT)
    }
}

/// What is compared, and how.
fn heading([spire, finial]: &[Product; 2], rounds: NonZeroU32) -> anyhow::Result<String> {
    let version = spire.version().context(
        "SPIRE_BIN_DIR (or --spire) must name a folder with spire-server and spire-agent",
    )?;
    let cores = match machine::description().get("cores_bound").and_then(Value::as_bool) {
        Some(true) => "The server and the agent of either share one core, the load has another.",
        _ => "Products and load share every core.",
    };
    Ok(format!(
        "SPIRE {version} and finial {}: the same load, the same configuration files, {rounds} rounds in turn.\n\
         {cores} CPU is what the processes used. Ratio: SPIRE / finial.\n",
        finial.version()?,
    ))
}
