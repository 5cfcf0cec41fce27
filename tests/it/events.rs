//! What is logged in the thread of a test.

use std::{
    error::Error,
    fmt::{self, Write as _},
    sync::{Arc, Mutex},
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::{self, DefaultGuard},
};

/// Collects until it is dropped. A test's runtime must be the default one: it runs its tasks in the
/// test's own thread.
pub(crate) struct Events {
    lines: Arc<Mutex<Vec<String>>>,
    _guard: DefaultGuard,
}

struct Collector(Arc<Mutex<Vec<String>>>);

struct Line<'a>(&'a mut String);

impl Events {
    pub(crate) fn collect() -> Self {
        let lines = Arc::default();
        let _guard = subscriber::set_default(Collector(Arc::clone(&lines)));
        Self { lines, _guard }
    }

    /// How many lines contain `text`.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }
}

impl Subscriber for Collector {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = String::new();
        event.record(&mut Line(&mut line));
        self.0.lock().unwrap().push(line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Line<'_> {
    fn record_error(&mut self, field: &Field, error: &(dyn Error + 'static)) {
        write!(self.0, "{field}={error}").unwrap();
        let mut cause = error.source();
        while let Some(error) = cause {
            write!(self.0, ": {error}").unwrap();
            cause = error.source();
        }
        self.0.push(' ');
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}
