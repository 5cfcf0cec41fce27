//! `load`: the generator on its own, against any SDS socket.

use super::{
    fleet::{Fleet, Names, Plan},
    stats::percentile,
    tally::Seen,
};
use anyhow::Context;
use clap::{Args, ValueEnum};
use finial::{spiffe::SpiffeId, testing::sds::FirstMessage};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, time::Duration};

/// Drive an SDS socket with many sidecars and report what they were given.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// The SDS socket, of whichever product.
    #[arg(long)]
    socket: PathBuf,
    /// How many sidecars.
    #[arg(long, default_value_t = 1_000)]
    connections: usize,
    /// What each asks for, one stream per name.
    #[arg(long, value_delimiter = ',', default_value = "default,ROOTCA")]
    names: Vec<String>,
    /// A file of SPIFFE IDs, one a line, given out in turn: each sidecar asks for its own instead of
    /// `default`.
    #[arg(long)]
    identities: Option<PathBuf>,
    /// The SPIFFE ID that `default` must be.
    #[arg(long)]
    expect: Option<SpiffeId>,
    /// How many sidecars may be without their first secrets at one time.
    #[arg(long)]
    at_once: Option<usize>,
    /// Send first messages of Envoy's size, 61 kB.
    #[arg(long)]
    envoy_sized: bool,
    /// Verify one answer in so many to the last signature.
    #[arg(long, default_value_t = 100)]
    verify_every: u64,
    /// How long every sidecar may take to get its first secrets.
    #[arg(long, value_parser = duration, default_value = "60s")]
    patience: Duration,
    /// How long to stay connected afterwards, counting what is pushed.
    #[arg(long, value_parser = duration, default_value = "0s")]
    hold: Duration,
    /// How to report.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

impl Load {
    /// Runs the load; whether everything went right.
    pub(crate) async fn run(self) -> anyhow::Result<bool> {
        let fleet = Fleet::launch(self.plan()?);
        let all_served = fleet.served(self.patience).await;
        let first = fleet.tally().look(|seen| self.first_secrets(seen));
        fleet.tally().mark();
        tokio::time::sleep(self.hold).await;
        let report = fleet.tally().look(|seen| merge(first, totals(seen)));
        let is_right = fleet.tally().look(|seen| seen.wrong.count == 0 && seen.broken.count == 0)
            && all_served;
        fleet.hang_up().await;
        match self.output {
            Output::Json => println!("{report}"),
            Output::Text => print_text(&report),
        }
        Ok(is_right)
    }

    fn plan(&self) -> anyhow::Result<Plan> {
        let names = match &self.identities {
            None => Names::Same(self.names.clone()),
            Some(file) => {
                let text = fs::read_to_string(file)
                    .with_context(|| format!("identities file {}", file.display()))?;
                let identities =
                    text.lines().map(SpiffeId::parse).collect::<Result<Vec<_>, _>>()?;
                anyhow::ensure!(!identities.is_empty(), "{} is empty", file.display());
                let others = self.names.iter().filter(|name| *name != "default").cloned();
                Names::Own { identities, others: others.collect() }
            }
        };
        Ok(Plan {
            names,
            first_message: if self.envoy_sized {
                FirstMessage::EnvoySized
            } else {
                FirstMessage::Small
            },
            at_once: self.at_once,
            verify_every: self.verify_every,
            default: self.expect.clone(),
            ..Plan::istio(self.socket.clone(), self.connections)
        })
    }

    fn first_secrets(&self, seen: &Seen) -> Value {
        json!({
            "connections": self.connections,
            "streams": seen.first_after.len() + seen.waiting,
            "refused_connects": seen.refused,
            "waiting": seen.waiting,
            "first_secret_ms": latencies(&seen.first_after),
        })
    }
}

fn totals(seen: &Seen) -> Value {
    json!({
        "answers": seen.answers,
        "repeated": seen.repeated,
        "verified": seen.verified,
        "bytes": seen.bytes,
        "pushed_while_held": seen.pushed_after.len(),
        "broken": { "count": seen.broken.count, "first": seen.broken.first },
        "wrong": { "count": seen.wrong.count, "first": seen.wrong.first },
    })
}

fn latencies(samples: &[Duration]) -> Value {
    let at = |percent| percentile(samples, percent).as_secs_f64() * 1_000.0;
    json!({ "p50": at(50.0), "p99": at(99.0), "max": at(100.0) })
}

fn merge(mut first: Value, second: Value) -> Value {
    if let (Value::Object(first), Value::Object(second)) = (&mut first, second) {
        first.extend(second);
    }
    first
}

fn print_text(report: &Value) {
    for (key, value) in report.as_object().into_iter().flatten() {
        println!("{key:>18}  {value}");
    }
}

/// `250ms`, `10s` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let count: u64 = digits.parse().map_err(|_| format!("{text:?} is no duration: try 10s"))?;
    match text.get(digits.len()..) {
        Some("ms") => Ok(Duration::from_millis(count)),
        Some("s") => Ok(Duration::from_secs(count)),
        Some("m") => Ok(Duration::from_secs(count * 60)),
        _ => Err(format!("{text:?} has no unit: expected ms, s or m")),
    }
}
