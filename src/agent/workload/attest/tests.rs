use super::*;
use crate::{agent::config::Executable, transport::peer::PeerError};
use std::{
    fs,
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    process::{Child, Command, Stdio},
};

fn attestor() -> Attestor {
    let unix = WorkloadAttestor::Unix { executable: Executable::Path };
    Attestor::new(&[unix], &Clock::system())
}

#[tokio::test]
async fn a_caller_is_attested_by_its_connection() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let peer = PeerCred::of_connection(&ours).unwrap();
    let selectors = attestor().attest(&peer).await.unwrap();
    let uid = format!("unix:uid:{}", rustix::process::geteuid().as_raw());
    assert!(selectors.contains(&Selector::parse(&uid).unwrap()), "{selectors:?}");
}

#[tokio::test]
async fn one_attestor_that_cannot_tell_fails_the_whole_attestation() {
    let dir = tempfile::tempdir().unwrap();
    let unreadable = Accounts::from_files(dir.path().to_owned(), dir.path().to_owned());
    let clock = Clock::system();
    let works = UnixAttestor::new(Executable::Ignored, Accounts::system(), clock.clone());
    let fails = UnixAttestor::new(Executable::Ignored, unreadable, clock);
    let kinds = vec![Kind::Unix(works), Kind::Unix(fails)];
    let attestor = Attestor { kinds, metrics: UpkeepMetrics::default() };
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let error = attestor.attest(&PeerCred::of_connection(&ours).unwrap()).await.unwrap_err();
    assert!(matches!(error, AttestError::Attestor { attestor: "unix", .. }), "{error}");
}

/// Process ids are forced in a PID namespace of the test's own: this file's test program
/// runs itself there with [`number_taken_over_before_accept_and_after`].
#[test]
fn a_process_that_takes_over_a_callers_number_is_not_taken_for_it() {
    assert!(rustix::process::geteuid().is_root(), "a PID namespace is needed: run as root");
    let program = fs::read_link("/proc/self/exe").unwrap();
    let run = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(program)
        .args(["--ignored", "--exact", "--nocapture"])
        .arg("agent::workload::attest::tests::number_taken_over_before_accept_and_after")
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{output}{}", String::from_utf8_lossy(&run.stderr));
    assert!(output.contains("1 passed"), "{output}");
}

#[test]
#[ignore = "runs in a PID namespace of its own, started by the test above"]
fn number_taken_over_before_accept_and_after() {
    assert_eq!(std::process::id(), 1, "not in a PID namespace of its own");
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("socket")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let attestor = attestor();

    let mut caller = connector(dir.path());
    let number = caller.id();
    end(&mut caller);
    let mut victim = process_with_number(number);
    let accepted = listener.accept().unwrap().0;
    let named = PeerCred::of_connection(&accepted);
    assert!(matches!(named, Err(PeerError::Gone { .. })), "{named:?}");
    victim.kill().unwrap();
    victim.wait().unwrap();

    let mut caller = connector(dir.path());
    let number = caller.id();
    let peer = PeerCred::of_connection(&listener.accept().unwrap().0).unwrap();
    assert_eq!(peer.pid.unsigned_abs(), number);
    assert!(runtime.block_on(attestor.attest(&peer)).is_ok());
    end(&mut caller);
    let mut victim = process_with_number(number);
    let answer = runtime.block_on(attestor.attest(&peer));
    assert!(matches!(answer, Err(AttestError::CallerEnded { .. })), "{answer:?}");
    victim.kill().unwrap();
    victim.wait().unwrap();
}

#[test]
#[ignore = "a process of the test above"]
fn connects_leaves_the_connection_to_a_child_and_ends_when_told() {
    let connection = UnixStream::connect("socket").unwrap();
    let heir = Stdio::from(OwnedFd::from(connection));
    #[expect(clippy::zombie_processes, reason = "it outlives this process, as the test wants")]
    let _heir = Command::new("sleep").arg("60").stdin(heir).spawn().unwrap();
    fs::write("connected", "").unwrap();
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

/// A process that has connected to the socket in `dir`.
fn connector(dir: &Path) -> Child {
    let mut child = Command::new(fs::read_link("/proc/self/exe").unwrap())
        .args(["--ignored", "--exact", "--test-threads=1"])
        .arg("agent::workload::attest::tests::connects_leaves_the_connection_to_a_child_and_ends_when_told")
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while fs::remove_file(dir.join("connected")).is_err() {
        assert!(child.try_wait().unwrap().is_none(), "the caller ended by itself");
        std::thread::yield_now();
    }
    child
}

fn end(child: &mut Child) {
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

/// Another process under the number of one that has ended.
fn process_with_number(number: u32) -> Child {
    fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string()).unwrap();
    let child = Command::new("sleep").arg("60").spawn().unwrap();
    assert_eq!(child.id(), number, "the number was not given out again");
    child
}
