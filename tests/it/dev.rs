//! `finial dev` as a user runs it: a process with flags, signals, and a pipe in place of a terminal.

use super::peers;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::{Instant, timeout},
};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// `finial dev`, its temporary directory below `temporary`.
fn dev(temporary: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_finial"));
    command
        .arg("dev")
        .args(arguments)
        .env("TMPDIR", temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A directory for a state that is kept: in memory, where the agent leaves its SVIDs for the next one, so
/// that they go with it.
fn in_memory() -> TempDir {
    tempfile::Builder::new().prefix("finial-").tempdir_in("/dev/shm").unwrap()
}

async fn outcome(mut command: Command) -> Output {
    timeout(PATIENCE, command.output()).await.unwrap().unwrap()
}

/// What a running `finial dev` prints.
type Said = Lines<BufReader<ChildStdout>>;

/// Starts `finial dev`.
fn start(temporary: &Path, arguments: &[&str]) -> (Child, Said) {
    let mut child = dev(temporary, arguments).spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, said)
}

/// Reads on to the first line with `sign`; gives that line.
async fn line_with(said: &mut Said, sign: &str) -> String {
    loop {
        let line = timeout(PATIENCE, said.next_line()).await.unwrap().unwrap();
        let line = line.unwrap_or_else(|| panic!("it ended before it said {sign:?}"));
        if line.contains(sign) {
            return line;
        }
    }
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap(), signal)
        .unwrap();
}

/// How many processes run an executable below `directory`.
fn running_below(directory: &Path) -> usize {
    let directory = fs::canonicalize(directory).unwrap();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let executables = processes.filter_map(|p| fs::read_link(p.path().join("exe")).ok());
    executables.filter(|executable| executable.starts_with(&directory)).count()
}

async fn until_none_runs_below(directory: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while running_below(directory) > 0 {
        assert!(Instant::now() < deadline, "an Envoy has outlived finial dev");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn two_envoys_rotate_without_a_lost_request_and_the_last_line_says_so() {
    let place = TempDir::new().unwrap();
    let envoy = peers::path("FINIAL_ENVOY");
    let envoy = envoy.to_str().unwrap();
    let arguments =
        ["-envoy", envoy, "--for", "32s", "-rotate-every=1s", "--ca-ttl=24s", "--output", "json"];
    let ended = outcome(dev(place.path(), &arguments)).await;
    let told = String::from_utf8(ended.stdout).unwrap();
    let live = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success(), "{told}{live}");
    let account: serde_json::Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    let number = |name: &str| account[name].as_u64().unwrap();
    assert_eq!(told.lines().count(), 1, "everything else goes to stderr: {told}");
    assert_eq!(number("failed"), 0);
    assert!(number("requests") > 500, "{account}");
    assert!(number("svid_rotations") >= 25, "{account}");
    assert!(number("ca_rotations") >= 1, "{account}");
    assert!(account["push_to_use_ms"]["p99"].as_f64().unwrap() > 0.0, "{account}");
    assert!((25..=40).contains(&live.lines().count()), "a line a second: {live}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "the state is gone");
}

#[tokio::test]
async fn sigterm_ends_everything_with_an_account() {
    let place = TempDir::new().unwrap();
    let envoy = peers::path("FINIAL_ENVOY");
    let (mut running, mut said) = start(place.path(), &["-envoy", envoy.to_str().unwrap()]);
    line_with(&mut said, "   1 s | client").await;
    assert_eq!(running_below(place.path()), 2);
    send(&running, Signal::TERM);
    line_with(&mut said, "no request was lost").await;
    assert!(timeout(PATIENCE, running.wait()).await.unwrap().unwrap().success());
    assert_eq!(running_below(place.path()), 0);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "the state is gone");
}

#[tokio::test]
async fn no_envoy_outlives_a_finial_that_is_killed() {
    let place = TempDir::new().unwrap();
    let envoy = peers::path("FINIAL_ENVOY");
    let (mut running, mut said) = start(place.path(), &["-envoy", envoy.to_str().unwrap()]);
    line_with(&mut said, "   1 s | client").await;
    assert_eq!(running_below(place.path()), 2);
    running.kill().await.unwrap();
    until_none_runs_below(place.path()).await;
}

#[tokio::test]
async fn without_envoys_the_printed_command_fetches_the_users_own_svid() {
    let place = in_memory();
    let kept = place.path().join("kept");
    let arguments = ["-data-dir", kept.to_str().unwrap()];
    // The second run finds the state of the first, with the SVID of an agent that knows its node.
    for _run in 0..2 {
        let (mut running, mut said) = start(place.path(), &arguments);
        let entry = line_with(&mut said, "entry:").await;
        let uid = rustix::process::geteuid().as_raw();
        assert!(entry.ends_with(&format!("spiffe://example.org/dev/user for unix:uid:{uid}")));
        let command = line_with(&mut said, "api fetch x509").await;
        let mut words = command.split_whitespace();
        let mut fetch = Command::new(words.next().unwrap());
        fetch.args(words).args(["-timeout", "30s"]);
        let fetched = outcome(fetch).await;
        let told = String::from_utf8(fetched.stdout).unwrap();
        assert!(told.contains("spiffe://example.org/dev/user"), "{told}");
        send(&running, Signal::INT);
        assert!(timeout(PATIENCE, running.wait()).await.unwrap().unwrap().success());
    }
    assert!(kept.join("finial.log").is_file());
}

#[tokio::test]
async fn what_is_no_envoy_is_refused_with_what_to_do() {
    let place = TempDir::new().unwrap();
    let plain = place.path().join("plain");
    fs::write(&plain, "").unwrap();
    for (envoy, said, hint) in [
        ("/nowhere/envoy", "Error: there is no file /nowhere/envoy\n", "scripts/setup.sh"),
        (plain.to_str().unwrap(), "is not an executable file\n", "chmod +x"),
        ("/bin/sh", "is not Envoy", "scripts/setup.sh"),
    ] {
        let ended = outcome(dev(place.path(), &["-envoy", envoy])).await;
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!((ended.status.code(), ended.stdout.as_slice()), (Some(1), &b""[..]), "{told}");
        assert!(told.contains(said), "{told}");
        assert!(told.contains("\nhint: ") && told.contains(hint), "{told}");
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing was started");
}

#[tokio::test]
async fn a_state_directory_in_use_and_times_that_do_not_fit_are_refused() {
    let place = in_memory();
    let kept = place.path().join("kept");
    let arguments = ["-data-dir", kept.to_str().unwrap()];
    let (_first, mut said) = start(place.path(), &arguments);
    line_with(&mut said, "entry:").await;
    let second = outcome(dev(place.path(), &arguments)).await;
    let told = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(told.starts_with("Error: the server does not start: "), "{told}");

    let refused = outcome(dev(place.path(), &["-rotate-every", "20ms"])).await;
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(told, "Error: -rotate-every is 20ms, expected at least 100ms\n");
}
