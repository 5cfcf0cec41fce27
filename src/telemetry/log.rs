//! The program's log: which events are written, and the one call that turns logging on.
//!
//! Our own events follow the level; other crates are heard from warnings on only, for theirs tell of
//! mechanics. Refuses to know what a line looks like (`line`) and where it goes (`sink`).

use crate::{
    config::log::{Format, Level, Log},
    runtime::Clock,
    telemetry::{line, sink::Sink},
};
use parking_lot::Mutex;
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};
use tracing::{Event, Subscriber, level_filters::LevelFilter, subscriber::SetGlobalDefaultError};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    layer::{Context, SubscriberExt as _},
    reload,
};

/// Our own events, by the crate's name.
const OURS: &str = "finial";
/// Calls it an error whenever an API server does not answer; whoever asked says so, with what follows.
const KUBE_CALLS: &str = "kube_client::client::builder";
/// Warns at each attempt that it has no right; whoever watches says so once, with what follows.
const KUBE_WATCHES: &str = "kube_runtime::watcher";
/// SPIRE 1.15: `log_file` is opened for appending with this mode.
const FILE_MODE: u32 = 0o640;
/// How long the end of the program may wait for its last lines.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// Logging, turned on. Dropped at the program's end it writes the last lines.
#[derive(Debug)]
pub struct Logging {
    launch: Level,
    current: Mutex<Level>,
    filter: reload::Handle<Targets, Registry>,
    file: Option<PathBuf>,
    sink: Sink,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log file cannot be written.
    #[error("log file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system gave no thread.
    #[error("a thread for the log")]
    Thread(#[source] io::Error),
    /// The process logs already.
    #[error("logging is on already")]
    On(#[source] SetGlobalDefaultError),
}

impl Logging {
    /// Turns logging on for the whole process, panics included.
    ///
    /// # Errors
    /// When the log file cannot be opened, or logging is on already.
    pub fn start(config: &Log, clock: Clock) -> Result<Self, LogError> {
        let output: Box<dyn Write + Send> = match &config.file {
            Some(path) => Box::new(open(path)?),
            None => Box::new(io::stdout()),
        };
        let (subscriber, logging) = prepare(config, clock, output)?;
        tracing::subscriber::set_global_default(subscriber).map_err(LogError::On)?;
        log_panics();
        Ok(logging)
    }

    /// The level now.
    #[must_use]
    pub fn level(&self) -> Level {
        *self.current.lock()
    }

    /// The level of the configuration.
    #[must_use]
    pub const fn launch_level(&self) -> Level {
        self.launch
    }

    /// Changes the level of the running program.
    pub fn set_level(&self, level: Level) {
        let mut current = self.current.lock();
        // Fails only when the subscriber is gone, and then there is no log.
        if self.filter.reload(targets(level)).is_ok() {
            *current = level;
        }
    }

    /// Opens the log file anew, as after its rotation. Nothing to do when the log is no file.
    ///
    /// # Errors
    /// When it cannot be opened; the lines go on to the old one.
    pub fn reopen(&self) -> Result<(), LogError> {
        if let Some(path) = &self.file {
            self.sink.redirect(open(path)?);
        }
        Ok(())
    }

    /// Lines that were not written because the output was too slow or refused them.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        self.sink.dropped()
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.sink.flush(FLUSH_WITHIN);
        self.sink.end();
    }
}

fn open(path: &Path) -> Result<File, LogError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(|source| LogError::File { path: path.to_owned(), source })
}

/// A subscriber that writes to `output`, and its handle.
fn prepare(
    config: &Log,
    clock: Clock,
    output: impl Write + Send + 'static,
) -> Result<(impl Subscriber + Send + Sync, Logging), LogError> {
    let (format, notice_clock) = (config.format, clock.clone());
    let notice = move |dropped| line::of_dropped(dropped, format, &notice_clock);
    let sink = Sink::start(output, notice).map_err(LogError::Thread)?;
    let (filter, handle) = reload::Layer::new(targets(config.level));
    let lines = Lines { format, clock, sink: sink.clone() };
    let subscriber = Registry::default().with(filter).with(lines);
    let (launch, file) = (config.level, config.file.clone());
    Ok((subscriber, Logging { launch, current: Mutex::new(launch), filter: handle, file, sink }))
}

fn targets(level: Level) -> Targets {
    let ours = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_target(OURS, ours)
        .with_target(KUBE_CALLS, LevelFilter::OFF)
        .with_target(KUBE_WATCHES, LevelFilter::OFF)
        .with_default(ours.min(LevelFilter::WARN))
}

/// A panic ends one request or task; its reason belongs into the log and not on a lost stderr.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("no message");
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(panic = text, location, "a part of the program panicked");
    }));
}

/// Turns events into lines and gives them to the sink.
struct Lines {
    format: Format,
    clock: Clock,
    sink: Sink,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.sink.push(&line::of_event(event, self.format, &self.clock));
    }
}

#[cfg(test)]
mod tests;
