//! Recorded sessions: a command, what it prints and how it ends; and whether a run is the same but for
//! what differs from run to run.
//!
//! A file is a list of steps. `$ ` opens a step with its command; `< ` is a line of stdin, `> ` one of
//! stdout, `! ` one of stderr, a final `\` says that the line does not end; `exit N` when it is not 0;
//! `#` a comment. Placeholders: `<uuid>`, `<time>`, `<unix>`, `<decimal>`, `<base64>`, `<duration>` and,
//! as a line of its own, `<pem>`.

use std::fmt::Write as _;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) command: String,
    pub(crate) stdin: String,
    pub(crate) outcome: Outcome,
}

/// How a command ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn read(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        let (mark, rest) = line.split_at(line.len().min(2));
        if mark == "$ " {
            steps.push(Step { command: rest.to_owned(), ..Step::default() });
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let step = steps.last_mut().expect("a file begins with a command");
        match mark.trim_end() {
            "<" => push_line(&mut step.stdin, rest),
            ">" => push_line(&mut step.outcome.stdout, rest),
            "!" => push_line(&mut step.outcome.stderr, rest),
            _ => {
                let code =
                    line.strip_prefix("exit ").unwrap_or_else(|| panic!("what is {line:?}?"));
                step.outcome.exit = code.parse().unwrap();
            }
        }
    }
    steps
}

fn push_line(text: &mut String, line: &str) {
    match line.strip_suffix('\\') {
        Some(line) => text.push_str(line),
        None => text.extend([line, "\n"]),
    }
}

/// The words of a command; single quotes keep one together.
pub(crate) fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in command.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

impl Outcome {
    /// What differs from `expected`, for a person; nothing when nothing does.
    pub(crate) fn difference(&self, expected: &Self) -> Option<String> {
        let mut text = String::new();
        if self.exit != expected.exit {
            writeln!(text, "exit {}, expected {}", self.exit, expected.exit).unwrap();
        }
        for (name, found, expected) in
            [("stdout", &self.stdout, &expected.stdout), ("stderr", &self.stderr, &expected.stderr)]
        {
            if !matches(&with_pem_folded(found), expected) {
                writeln!(text, "{name}:\n{found}\nexpected:\n{expected}").unwrap();
            }
        }
        (!text.is_empty()).then_some(text)
    }
}

/// Writes `<pem>` for each PEM block.
fn with_pem_folded(text: &str) -> String {
    let mut folded = String::new();
    let mut is_inside = false;
    for line in text.split_inclusive('\n') {
        if line.starts_with("-----BEGIN ") {
            is_inside = true;
            folded.push_str("<pem>\n");
        }
        if !is_inside {
            folded.push_str(line);
        }
        if line.starts_with("-----END ") {
            is_inside = false;
        }
    }
    folded
}

fn matches(text: &str, pattern: &str) -> bool {
    let Some((literal, kind, rest)) = next_placeholder(pattern) else { return text == pattern };
    let Some(text) = text.strip_prefix(literal) else { return false };
    let fits =
        |length: &usize| is_of_kind(kind, &text[..*length]) && matches(&text[*length..], rest);
    let lengths = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    lengths.take_while(|length| !text[..*length].contains('\n')).any(|length| fits(&length))
}

const KINDS: &[&str] = &["uuid", "time", "unix", "decimal", "base64", "duration"];

fn next_placeholder(pattern: &str) -> Option<(&str, &str, &str)> {
    let found = KINDS.iter().filter_map(|kind| {
        let at = pattern.find(&format!("<{kind}>"))?;
        Some((at, kind.len()))
    });
    let (at, length) = found.min()?;
    Some((&pattern[..at], &pattern[at + 1..=at + length], &pattern[at + length + 2..]))
}

fn is_of_kind(kind: &str, text: &str) -> bool {
    let all = |allowed: &dyn Fn(char) -> bool| !text.is_empty() && text.chars().all(allowed);
    match kind {
        "uuid" => text.len() == 36 && all(&|c| c.is_ascii_hexdigit() || c == '-'),
        // 2026-11-22 16:57:52 +0000 UTC, or 2026-11-22T16:57:52Z.
        "time" => {
            let shape: String =
                text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            shape == "0000-00-00 00:00:00 +0000 UTC" || shape == "0000-00-00T00:00:00Z"
        }
        "unix" => text.len() == 10 && all(&|c| c.is_ascii_digit()),
        "decimal" => all(&|c| c.is_ascii_digit()),
        "base64" => all(&|c| c.is_ascii_alphanumeric() || "+/=-_".contains(c)),
        "duration" => {
            text.starts_with(|c: char| c.is_ascii_digit())
                && text.ends_with('s')
                && all(&|c| c.is_ascii_digit() || ".hmnµs".contains(c))
        }
        _ => false,
    }
}

#[test]
fn a_run_matches_its_record_but_for_the_placeholders() {
    let steps =
        read("# c\n$ a 'b c'\n< in\n> <uuid>: <time>\\\n! gone\nexit 3\n\n$ d\n>\n> <pem>\n");
    assert_eq!(words(&steps[0].command), ["a", "b c"]);
    assert_eq!((steps[0].stdin.as_str(), steps[0].outcome.exit), ("in\n", 3));
    let run = |stdout: &str, stderr: &str| Outcome {
        exit: 3,
        stdout: stdout.to_owned(),
        stderr: stderr.to_owned(),
    };
    let uuid = "0da5d6a7-7421-407f-a10b-3d0610baa0d6";
    let good = format!("{uuid}: 2026-11-22T16:57:52Z");
    assert_eq!(run(&good, "gone\n").difference(&steps[0].outcome), None);
    for (stdout, stderr) in [
        (format!("{good}\n"), "gone\n"),
        (good.replace('T', " "), "gone\n"),
        (good.replace(uuid, ""), "gone\n"),
        (good.clone(), "gone"),
    ] {
        assert!(run(&stdout, stderr).difference(&steps[0].outcome).is_some(), "{stdout}");
    }
    let block = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    let folded = Outcome { stdout: format!("\n{block}"), ..Outcome::default() };
    assert_eq!(folded.difference(&steps[1].outcome), None);
    assert!(Outcome::default().difference(&steps[1].outcome).is_some());
}
