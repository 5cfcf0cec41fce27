//! `finial dev`: the flags, the terminal, and the exit code.

use super::{
    Failure,
    chain::chain,
    command::{Command, Listed, Program, made},
    console, environment,
    exit::Exit,
    flags::{FlagSet, Refusal, Value},
};
use crate::{
    config::value,
    dev::{
        envoy::leash,
        options::{Options, Output, Surroundings},
        run::run,
        screen::{Form, Screen},
        summary::Summary,
    },
    runtime::{Shutdown, TaskSet, shutdown::termination_signal},
};
use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};

/// `dev` as a program of one command, which is called by the program's own word.
pub(super) const PROGRAM: Program = Program {
    name: "finial",
    commands: &[Listed {
        path: "dev",
        synopsis: "Runs a server and an agent here, with two Envoys under load if given one",
        error_prefix: "Error: ",
        make: made::<Dev>,
    }],
};

/// Runs everything on this machine.
#[derive(Debug, Default)]
struct Dev {
    envoy: String,
    run_for: Option<Duration>,
    rotate_every: Option<Duration>,
    svid_ttl: Option<Duration>,
    ca_ttl: Option<Duration>,
    data_dir: String,
    output: Output,
}

/// The runtime could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the event loop: {0}")]
struct RuntimeError(#[source] io::Error);

impl Command for Dev {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        flags.add("envoy", &mut self.envoy, "The Envoy binary to run two of");
        flags.add("for", &mut self.run_for, "How long to run; until Ctrl-C when not given");
        flags.add("rotate-every", &mut self.rotate_every, "Renew every SVID at this age");
        flags.add("svid-ttl", &mut self.svid_ttl, "How long SVIDs live (1h)");
        flags.add("ca-ttl", &mut self.ca_ttl, "How long an authority lives (24 x rotate-every)");
        flags.add(
            "data-dir",
            &mut self.data_dir,
            "Where to keep the state; removed when not given",
        );
        flags.add("output", &mut self.output, "text, or json: one object as the last line");
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let path = |text: String| (!text.is_empty()).then(|| PathBuf::from(text));
        let options = Options {
            envoy: path(self.envoy),
            run_for: self.run_for,
            rotate_every: self.rotate_every,
            svid_ttl: self.svid_ttl,
            ca_ttl: self.ca_ttl,
            data_dir: path(self.data_dir),
            output: self.output,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(RuntimeError)?;
        let surroundings =
            Surroundings { temporary: environment::temporary(), program: environment::program()? };
        let mut screen = screen(options.output);
        let summary = runtime.block_on(until_told(&options, &surroundings, &mut screen))?;
        let Some(summary) = summary else { return Ok(()) };
        conclude(&summary, options.output)
    }
}

/// Runs until the time is over, or the first SIGTERM or Ctrl-C.
async fn until_told(
    options: &Options,
    surroundings: &Surroundings,
    screen: &mut Screen,
) -> Result<Option<Summary>, Failure> {
    let (shutdown, tasks) = (Shutdown::new(), TaskSet::new());
    let told = shutdown.clone();
    tasks.spawn("signals", async move {
        // Without signals the time given, or a kill, ends it.
        if termination_signal().await.is_ok() {
            told.request();
        }
    });
    Ok(run(options, surroundings, screen, &shutdown).await?)
}

/// With JSON on stdout, what people read goes to stderr.
fn screen(output: Output) -> Screen {
    let form = |is_terminal| if is_terminal { Form::Terminal } else { Form::Lines };
    let (out, form): (Box<dyn Write + Send>, Form) = match output {
        Output::Text => (Box::new(io::stdout()), form(io::stdout().is_terminal())),
        Output::Json => (Box::new(io::stderr()), form(io::stderr().is_terminal())),
    };
    Screen::new(out, form)
}

fn conclude(summary: &Summary, output: Output) -> Result<(), Failure> {
    match output {
        Output::Text => console::print(&summary.text())?,
        Output::Json => console::print(&format!("{}\n", serde_json::to_string(summary)?))?,
    }
    // A lost request is what this program exists to find.
    if summary.is_clean() { Ok(()) } else { Err(Failure::Told) }
}

/// Becomes a child of `finial dev`; see [`leash`].
pub(super) fn become_child(arguments: &[String]) -> Exit {
    let Err(error) = leash::become_child(arguments);
    console::tell(&format!("Error: {}\n", chain(&error)));
    Exit::Failure
}

impl Value for Option<Duration> {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        *self = Some(value::interval(text).map_err(|_| Refusal::Duration)?);
        Ok(())
    }

    fn placeholder(&self) -> Option<&'static str> {
        Some("duration")
    }

    fn default_text(&self) -> Option<String> {
        None
    }
}

impl Value for Output {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        *self = match text {
            "text" => Self::Text,
            "json" => Self::Json,
            _ => return Err(Refusal::Format(text.to_owned())),
        };
        Ok(())
    }

    fn placeholder(&self) -> Option<&'static str> {
        Some("value")
    }

    fn default_text(&self) -> Option<String> {
        None
    }
}
