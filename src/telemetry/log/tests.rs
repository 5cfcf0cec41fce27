use super::*;
use crate::{config::log::Format, runtime::clock::from_unix_secs};
use std::{io::Read as _, os::unix::net::UnixStream};

/// What `work` logs, as it is written.
fn logged(level: Level, format: Format, work: impl FnOnce(&Logging)) -> String {
    let (output, mut written) = UnixStream::pair().unwrap();
    let clock = Clock::anchored_at(from_unix_secs(1_795_366_673));
    let config = Log { level, format, file: None };
    let (subscriber, logging) = prepare(&config, clock, output).unwrap();
    tracing::subscriber::with_default(subscriber, || work(&logging));
    drop(logging);
    let mut text = String::new();
    written.read_to_string(&mut text).unwrap();
    text
}

/// The line without its time, which moves.
fn without_time(line: &str) -> &str {
    line.split_once(' ').unwrap().1
}

#[test]
fn a_text_line_reads_like_spires() {
    let text = logged(Level::Info, Format::Text, |_| {
        tracing::info!(target: "finial::agent::renew::due", spiffe_id = "spiffe://example.org/web", serial = 17_u64, "SVID renewed");
        tracing::warn!(target: "finial::csi", level = "high", empty = "", "slow");
    });
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("time=\"2026-11-22T16:"), "{}", lines[0]);
    assert_eq!(
        without_time(lines[0]),
        "level=info msg=\"SVID renewed\" spiffe_id=\"spiffe://example.org/web\" serial=17 \
         subsystem_name=agent.renew"
    );
    assert_eq!(
        without_time(lines[1]),
        "level=warning msg=slow fields.level=high empty= subsystem_name=csi"
    );
}

#[test]
fn a_json_line_is_one_object_with_typed_fields() {
    let text = logged(Level::Info, Format::Json, |_| {
        let cause = io::Error::other(fmt_error());
        let error: &(dyn std::error::Error + 'static) = &LogError::Thread(cause);
        tracing::error!(target: "finial::server", error, ready = false, entries = 3, "broken");
    });
    let object: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(object["msg"], "broken");
    assert_eq!(object["level"], "error");
    assert_eq!((&object["ready"], &object["entries"]), (&false.into(), &3.into()));
    assert_eq!(object["error"], "a thread for the log: no more threads", "the chain of causes");
}

fn fmt_error() -> &'static str {
    "no more threads"
}

#[test]
fn a_peer_cannot_forge_a_line_or_command_the_terminal() {
    let evil = "x\"\ntime=now level=error msg=\u{1b}[2Jfake\r\u{202e}\u{7f}";
    for format in [Format::Text, Format::Json] {
        let text = logged(Level::Info, format, |_| {
            tracing::info!(target: "finial", value = evil, shown = %evil, "told");
        });
        assert_eq!(text.lines().count(), 1, "{text:?}");
        let hidden = |c: char| c.is_control() && c != '\n';
        assert!(!text.chars().any(hidden), "{text:?}");
    }
    let text =
        logged(Level::Info, Format::Text, |_| tracing::info!(target: "finial", value = evil, ""));
    assert!(text.contains(r#"value="x\"\ntime=now level=error msg=\u001b[2Jfake\r\u202e\u007f""#));
}

#[test]
fn a_huge_value_is_cut() {
    let text = logged(Level::Info, Format::Text, |_| {
        tracing::info!(target: "finial", value = "ä".repeat(100_000), "told");
    });
    assert!(text.len() < 5_000 && text.contains('…'), "{}", text.len());
}

#[test]
fn the_level_changes_while_the_program_runs_and_others_stay_quiet() {
    let text = logged(Level::Info, Format::Text, |logging| {
        tracing::debug!(target: "finial::agent", "before");
        logging.set_level(Level::Debug);
        assert_eq!((logging.level(), logging.launch_level()), (Level::Debug, Level::Info));
        tracing::debug!(target: "finial::agent", "after");
        tracing::info!(target: "h2::codec", "mechanics");
        tracing::warn!(target: "h2::codec", "trouble");
        logging.set_level(Level::Error);
        tracing::warn!(target: "h2::codec", "hidden");
    });
    let messages: Vec<_> = text
        .lines()
        .map(|line| line.split(" msg=").nth(1).unwrap().split(' ').next().unwrap())
        .collect();
    assert_eq!(messages, ["after", "trouble"]);
}

#[test]
fn a_log_file_is_appended_to_and_one_that_cannot_be_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.log");
    std::fs::write(&path, "before\n").unwrap();
    open(&path).unwrap().write_all(b"after\n").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "before\nafter\n");
    let error = open(directory.path()).unwrap_err();
    assert!(error.to_string().contains(directory.path().to_str().unwrap()), "{error}");
}
