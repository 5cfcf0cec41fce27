//! What `finial dev` shows while it runs: redrawn in place on a terminal, else a line a second.

use super::{mesh::Side, progress::Progress, usage::SideUsage};
use crate::runtime::clock::from_unix_secs;
use std::{
    fmt::Write as _,
    io::{self, Write},
    time::{Duration, SystemTime},
};

/// Where it is shown.
pub struct Screen {
    out: Box<dyn Write + Send>,
    form: Form,
    /// How many lines stand on the terminal that the next picture replaces.
    drawn: usize,
}

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A terminal: the picture is drawn over the last one.
    Terminal,
    /// A pipe or file: one line at a time.
    Lines,
}

impl Screen {
    /// A screen that writes to `out`, on which nothing is drawn yet.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, form: Form) -> Self {
        Self { out, form, drawn: 0 }
    }

    /// How often [`Screen::show`] should be called.
    #[must_use]
    pub const fn pace(&self) -> Duration {
        match self.form {
            Form::Terminal => Duration::from_millis(250),
            Form::Lines => Duration::from_secs(1),
        }
    }

    /// Writes `text`, which stays.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        self.drawn = 0;
        self.write(text)
    }

    /// Shows how things are now.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn show(&mut self, progress: &Progress) -> io::Result<()> {
        let Form::Terminal = self.form else { return self.write(&line(progress)) };
        let mut text = String::new();
        if self.drawn > 0 {
            // Up to where the last picture began (ECMA-48 CUU).
            push(&mut text, format_args!("\x1b[{}A", self.drawn));
        }
        let picture = picture(progress);
        for line in picture.lines() {
            // What the last picture had beyond the end of this line is erased (ECMA-48 EL).
            push(&mut text, format_args!("{line}\x1b[K\n"));
        }
        self.drawn = picture.lines().count();
        self.write(&text)
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(more);
}

fn line(progress: &Progress) -> String {
    let side = |side: Side| {
        let usage = progress.sides.of(side);
        format!("{} {} {}", side.name(), serial(usage), left(usage.not_after, progress.now))
    };
    let rotations = Side::BOTH.map(|side| progress.sides.of(side).rotations);
    format!(
        "{:>4} s | {} | {} | ca {} {} | rotations {} + {}, ca {} | requests {} ok, {} failed | \
         pushes {} | push to use p50 {} p99 {}\n",
        progress.elapsed.as_secs(),
        side(Side::Client),
        side(Side::Server),
        short(&progress.authority.id),
        left(Some(from_unix_secs(progress.authority.expires_at)), progress.now),
        rotations[0],
        rotations[1],
        progress.authority.rotations,
        progress.requests.saturating_sub(progress.failed),
        progress.failed,
        progress.pushes,
        millis(progress.push_to_use.p50),
        millis(progress.push_to_use.p99),
    )
}

fn picture(progress: &Progress) -> String {
    let mut text = row(["", "identity", "serial", "left", "rotations", "push to use"]);
    for side in Side::BOTH {
        let usage = progress.sides.of(side);
        text.push_str(&row([
            side.name(),
            progress.identities.of(side).as_str(),
            &serial(usage),
            &left(usage.not_after, progress.now),
            &usage.rotations.to_string(),
            &usage.latest.map_or_else(String::new, millis),
        ]));
    }
    let authority = &progress.authority;
    text.push_str(&row([
        "ca",
        "",
        short(&authority.id),
        &left(Some(from_unix_secs(authority.expires_at)), progress.now),
        &authority.rotations.to_string(),
        "",
    ]));
    push(
        &mut text,
        format_args!(
            "\n{:>5} s   requests {} ok, {} failed   pushes {}   push to use p50 {}, p99 {}\n",
            progress.elapsed.as_secs(),
            progress.requests.saturating_sub(progress.failed),
            progress.failed,
            progress.pushes,
            millis(progress.push_to_use.p50),
            millis(progress.push_to_use.p99),
        ),
    );
    text
}

fn row([name, identity, serial, left, rotations, latest]: [&str; 6]) -> String {
    format!("  {name:7} {identity:42} {serial:9} {left:>7}  {rotations:>9}  {latest:>11}\n")
}

/// The first bytes, which differ enough to see a change.
fn serial(usage: &SideUsage) -> String {
    let bytes = usage.serial.as_ref().map(|serial| serial.bytes()).unwrap_or_default();
    bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

fn left(not_after: Option<SystemTime>, now: SystemTime) -> String {
    let Some(left) = not_after.map(|end| end.duration_since(now).unwrap_or_default()) else {
        return String::new();
    };
    match left.as_secs() {
        secs @ 0..600 => format!("{secs} s"),
        secs => format!("{} min", secs / 60),
    }
}

fn millis(delay: Duration) -> String {
    format!("{:.1} ms", delay.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dev::{mesh::BySide, progress::Authority, usage::Delays},
        spiffe::SpiffeId,
        x509::cert::Serial,
    };
    use parking_lot::Mutex;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock())).unwrap()
        }
    }

    fn progress() -> Progress {
        let now = from_unix_secs(1_000);
        Progress {
            now,
            elapsed: Duration::from_secs(7),
            identities: BySide::each(|side| {
                SpiffeId::parse(&format!("spiffe://example.org/{}", side.name())).unwrap()
            }),
            sides: BySide::each(|_| SideUsage {
                serial: Some(Serial::from_bytes(&[0xab, 1, 2, 3, 4])),
                not_after: Some(from_unix_secs(1_090)),
                rotations: 3,
                latest: Some(Duration::from_micros(4_200)),
                late: 0,
            }),
            authority: Authority { id: "0123456789".to_owned(), expires_at: 4_600, rotations: 1 },
            pushes: 9,
            requests: 1_000,
            failed: 1,
            push_to_use: Delays::default(),
        }
    }

    #[test]
    fn a_pipe_gets_one_line_at_a_time() {
        let paper = Paper::default();
        let mut screen = Screen::new(Box::new(paper.clone()), Form::Lines);
        screen.show(&progress()).unwrap();
        assert_eq!(
            paper.take(),
            "   7 s | client ab010203 90 s | server ab010203 90 s | ca 01234567 60 min | rotations 3 + 3, ca 1 \
             | requests 999 ok, 1 failed | pushes 9 | push to use p50 0.0 ms p99 0.0 ms\n"
        );
    }

    #[test]
    fn a_terminal_is_redrawn_in_place_but_never_over_what_was_said() {
        let paper = Paper::default();
        let mut screen = Screen::new(Box::new(paper.clone()), Form::Terminal);
        screen.show(&progress()).unwrap();
        let lines = paper.take().lines().count();
        screen.show(&progress()).unwrap();
        assert!(paper.take().starts_with(&format!("\x1b[{lines}A")));
        screen.say("stays\n").unwrap();
        screen.show(&progress()).unwrap();
        assert!(!paper.take().contains('A'), "nothing moves up over it");
    }
}
