//! Where log lines go: a bounded buffer that a thread of its own empties.
//!
//! Whoever logs only ever appends to memory. When the reader of our output stands still or the disk is
//! full, lines are dropped and counted, and requests go on. The thread "log" sleeps while there is
//! nothing to write.

use parking_lot::{Condvar, Mutex, MutexGuard};
use std::{
    fmt,
    io::{self, Write},
    mem,
    sync::Arc,
    thread,
    time::Duration,
};

/// Some thousand lines: minutes of a busy agent, and nothing beside its other memory.
const MAX_BYTES: usize = 1024 * 1024;
/// What an emptied buffer may keep for the next lines.
const KEPT_BYTES: usize = 64 * 1024;

/// The buffer. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Sink(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    filled: Condvar,
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    /// Where the lines go from now on, if elsewhere.
    next: Option<Output>,
    /// Lines dropped since the last that were told of.
    untold: u64,
    dropped: u64,
    writing: Writing,
    end: End,
}

/// What lines are written to.
struct Output(Box<dyn Write + Send>);

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}

/// Whether lines are between the buffer and the output.
#[derive(Debug, Default, PartialEq)]
enum Writing {
    #[default]
    Idle,
    Busy,
}

/// Whether the thread is wanted any longer.
#[derive(Debug, Default, PartialEq)]
enum End {
    #[default]
    Open,
    Requested,
}

impl Sink {
    /// Starts the thread that writes to `output`. `notice` makes the line that says how many were
    /// dropped.
    pub(super) fn start(
        output: impl Write + Send + 'static,
        notice: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Self> {
        let sink = Self::default();
        let shared = Arc::clone(&sink.0);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || shared.run(Output(Box::new(output)), notice))?;
        Ok(sink)
    }

    /// Writes to `output` from the next lines on.
    pub(super) fn redirect(&self, output: impl Write + Send + 'static) {
        self.0.state.lock().next = Some(Output(Box::new(output)));
    }

    /// Takes a line, which must end in a newline; drops it when the buffer is full.
    pub(super) fn push(&self, line: &str) {
        let mut state = self.0.state.lock();
        if state.lines.len() + line.len() > MAX_BYTES {
            state.untold += 1;
            state.dropped += 1;
            return;
        }
        state.lines.extend_from_slice(line.as_bytes());
        drop(state);
        self.0.filled.notify_one();
    }

    /// Lines that were dropped since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.0.state.lock().dropped
    }

    /// Waits until everything taken so far is written, but no longer than `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let mut state = self.0.state.lock();
        let is_pending =
            |state: &mut State| !state.lines.is_empty() || state.writing == Writing::Busy;
        let _timed_out = self.0.written.wait_while_for(&mut state, is_pending, limit);
    }

    /// Ends the thread once it has written what it has.
    pub(super) fn end(&self) {
        self.0.state.lock().end = End::Requested;
        self.0.filled.notify_one();
    }
}

impl Shared {
    fn run(&self, mut output: Output, notice: impl Fn(u64) -> String) {
        let mut lines = Vec::new();
        while let Some(untold) = self.take(&mut lines, &mut output) {
            let output = &mut output.0;
            if untold > 0 {
                lines.extend_from_slice(notice(untold).as_bytes());
            }
            let lost = output.write_all(&lines).and_then(|()| output.flush()).is_err();
            lines.shrink_to(KEPT_BYTES);
            self.finish(if lost { bytecount(&lines) } else { 0 });
            lines.clear();
        }
    }

    /// Waits for lines and swaps them with the emptied buffer `lines`, and `output` with where they
    /// shall go; how many were dropped before them. `None` at the end.
    fn take(&self, lines: &mut Vec<u8>, output: &mut Output) -> Option<u64> {
        let mut state = self.state.lock();
        self.filled
            .wait_while(&mut state, |state| state.lines.is_empty() && state.end == End::Open);
        // Whoever woke us may have more to say: one write for all of it, and one waking.
        MutexGuard::unlocked(&mut state, thread::yield_now);
        if state.lines.is_empty() {
            return None;
        }
        mem::swap(&mut state.lines, lines);
        if let Some(next) = state.next.take() {
            *output = next;
        }
        state.writing = Writing::Busy;
        Some(mem::take(&mut state.untold))
    }

    /// Says that what was taken is written, but for `lost` lines.
    fn finish(&self, lost: u64) {
        let mut state = self.state.lock();
        state.untold += lost;
        state.dropped += lost;
        state.writing = Writing::Idle;
        drop(state);
        self.written.notify_all();
    }
}

/// How many lines `text` has.
fn bytecount(text: &[u8]) -> u64 {
    text.iter().filter(|octet| **octet == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// An output that stands still until it is told to write, then shows what it wrote.
    struct Gate {
        open: mpsc::Receiver<()>,
        seen: mpsc::Sender<String>,
    }

    impl Write for Gate {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.open.recv().map_err(io::Error::other)?;
            self.seen
                .send(String::from_utf8_lossy(octets).into_owned())
                .map_err(io::Error::other)?;
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (Sink, mpsc::Sender<()>, mpsc::Receiver<String>) {
        let ((opener, open), (seen, wrote)) = (mpsc::channel(), mpsc::channel());
        let notice = |dropped| format!("{dropped} dropped\n");
        (Sink::start(Gate { open, seen }, notice).unwrap(), opener, wrote)
    }

    #[test]
    fn a_blocked_output_holds_nobody_up_and_what_was_dropped_is_told() {
        let (sink, open, wrote) = gated();
        let line = format!("{}\n", "x".repeat(1023));
        for _ in 0..3 * MAX_BYTES / line.len() {
            sink.push(&line);
        }
        assert!(sink.dropped() >= (MAX_BYTES / line.len()) as u64, "{}", sink.dropped());
        // All of this returned although nothing was written yet.
        assert!(wrote.try_recv().is_err());
        let mut text = String::new();
        while !text.ends_with("dropped\n") {
            open.send(()).unwrap();
            text += &wrote.recv().unwrap();
        }
        assert!(text.ends_with(&format!("\n{} dropped\n", sink.dropped())));
    }

    #[test]
    fn flush_waits_for_the_output_but_not_for_ever() {
        let (sink, open, wrote) = gated();
        sink.push("one\n");
        sink.flush(Duration::from_millis(10));
        assert!(wrote.try_recv().is_err(), "the output is blocked and the flush has given up");
        open.send(()).unwrap();
        sink.flush(Duration::from_secs(60));
        assert_eq!(wrote.try_recv().unwrap(), "one\n");
        sink.end();
        assert!(wrote.recv().is_err(), "the thread and its output are gone");
    }

    #[test]
    fn lines_that_the_output_refuses_are_counted() {
        let (sink, open, _wrote) = gated();
        drop(open);
        sink.push("one\ntwo\n");
        sink.flush(Duration::from_secs(60));
        assert_eq!(sink.dropped(), 2);
    }
}
