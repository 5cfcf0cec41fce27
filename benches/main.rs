//! `make bench`: each promise of SPECIFICATION.md that is a number, measured beside its raw limit.
//!
//! `cargo bench --bench promises` runs all of them; names after `--` run those alone; `-- load` drives
//! any SDS socket, `-- compare` (`make compare`) a real SPIRE and finial in turn. The exit code is 1 when
//! a bound is broken or a run proves nothing.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program whose purpose is what it prints"
)]

mod compare;
mod harness;
mod limits;
mod load;
mod promises;

use clap::{Parser, Subcommand, ValueEnum};
use compare::command::Compare;
use harness::{
    crowd::Member,
    machine::{self, Core},
    row::{Row, heading},
    steal::Steal,
};
use load::command::{Load, Output};
use std::process::ExitCode;
use tokio::{runtime, time::Instant};

#[derive(Debug, Parser)]
#[command(about = "Measure what finial promises", args_conflicts_with_subcommands = true)]
struct Arguments {
    /// What to measure; everything if none is named.
    promises: Vec<Promise>,
    /// How to report.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(subcommand)]
    command: Option<Tool>,
    /// What cargo adds.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Tool {
    Load(Load),
    Compare(Compare),
    #[command(hide = true)]
    Member(Member),
}

/// A promise, in the order in which they are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Promise {
    SvidSign,
    Rotation,
    Storm,
    Fanout,
    Memory,
    LateRegistration,
    Settings,
    Idle,
    EntryCreate,
    CsiPublish,
    ControllerConvergence,
    ControllerEvents,
}

impl Promise {
    async fn measure(self) -> anyhow::Result<Vec<Row>> {
        match self {
            Self::SvidSign => promises::svid_sign::run(),
            Self::Rotation => promises::rotation::run().await,
            Self::Storm => promises::storm::run().await,
            Self::Fanout => promises::fanout::run().await,
            Self::Memory => promises::memory::run().await,
            Self::LateRegistration => promises::late_registration::run().await,
            Self::Settings => promises::settings::run().await,
            Self::Idle => promises::idle::run().await,
            Self::EntryCreate => promises::entry_create::run().await,
            Self::CsiPublish => promises::csi_publish::run(),
            Self::ControllerConvergence => promises::controller_convergence::run().await,
            Self::ControllerEvents => promises::controller_events::run().await,
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(Tool::Member(member)) = arguments.command {
        return member.run().map(|()| ExitCode::SUCCESS);
    }
    machine::raise_file_limit()?;
    machine::bind_to(Core::Load);
    // One thread, so that the load stays on its core.
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let is_right = runtime.block_on(async {
        match arguments.command {
            Some(Tool::Load(load)) => load.run().await,
            Some(Tool::Compare(compare)) => compare.run().await,
            // Ran above, before any thread.
            Some(Tool::Member(_)) => Ok(true),
            None => Ok(measure(arguments.promises, arguments.output).await),
        }
    })?;
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures and reports; whether every promise was kept.
async fn measure(chosen: Vec<Promise>, output: Output) -> bool {
    let all = chosen.is_empty();
    let chosen = if all { Promise::value_variants().to_vec() } else { chosen };
    let machine = machine::description();
    if output == Output::Text {
        println!("{}", heading());
    }
    let mut are_kept = true;
    for promise in chosen {
        let (steal, started) = (Steal::now(), Instant::now());
        let rows = match promise.measure().await {
            Ok(rows) => rows,
            Err(error) => {
                eprintln!("{promise:?}: {error:#}");
                are_kept = false;
                continue;
            }
        };
        for row in rows {
            // More than this was somebody else's machine.
            let stolen = steal.percent_since();
            let row = row.void((stolen > 5.0).then(|| format!("{stolen:.0} % of the CPU stolen")));
            are_kept &= !row.verdict().is_failure();
            match output {
                Output::Text => println!("{row}"),
                Output::Json => {
                    let row = row.detail("stolen_percent", stolen);
                    let row = row.detail("bench_secs", started.elapsed().as_secs_f64());
                    println!("{}", row.json(&machine));
                }
            }
        }
    }
    are_kept
}
