//! Server and agent as an operator runs them: processes with a configuration, a log and signals.

use super::{programs::Programs, real_server::configuration, transcript::Outcome};
use rustix::process::{Pid, Signal, kill_process};
use std::{net::TcpListener, path::Path, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines},
    process::{Child, ChildStdout},
    time::Instant,
};

/// A program that serves.
struct Running {
    child: Child,
    log: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts it and reads its log up to the line that holds `sign`.
    async fn start(programs: &Programs, program: &str, arguments: &[&str], sign: &str) -> Self {
        let mut child = programs.start(program, arguments);
        let mut log = BufReader::new(child.stdout.take().unwrap()).lines();
        read_to(&mut log, sign).await;
        Self { child, log }
    }

    async fn terminate(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        read_to(&mut self.log, "SIGTERM").await;
        let output = self.child.wait_with_output().await.unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    }
}

async fn read_to(lines: &mut Lines<BufReader<impl AsyncRead + Unpin>>, sign: &str) {
    let mut seen = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.contains(sign) {
            return;
        }
        seen.push(line);
    }
    panic!("no {sign:?} in {seen:#?}");
}

async fn say(programs: &Programs, command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    let Outcome { exit, stdout, stderr } = programs.run(words[0], &words[1..], b"").await;
    assert_eq!((exit, stderr.as_str()), (0, ""), "{command}");
    stdout
}

/// A port that nobody had a moment ago: flags name the server's.
fn free_port() -> String {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port().to_string()
}

#[tokio::test]
async fn a_workload_gets_its_svid_from_an_agent_that_joined_a_server() {
    let programs = Programs::new();
    let port = free_port();
    programs.write("server.conf", &configuration("data_dir = \"server\""));
    let run = ["run", "-config", "server.conf", "-serverPort", &port];
    let server = Running::start(&programs, "spire-server", &run, "server serves").await;

    programs.write("bundle.pem", &say(&programs, "spire-server bundle show").await);
    let token =
        say(&programs, "spire-server token generate -spiffeID spiffe://example.org/n").await;
    let uid = rustix::process::getuid().as_raw();
    let create = format!(
        "spire-server entry create -parentID spiffe://example.org/n \
         -spiffeID spiffe://example.org/w -selector unix:uid:{uid}"
    );
    say(&programs, &create).await;

    programs.write(
        "agent.conf",
        "agent {\n trust_domain = \"example.org\"\n server_address = \"127.0.0.1\"\n \
         server_port = \"1\"\n data_dir = \"$STATE\"\n socket_path = \"pub/api.sock\"\n \
         admin_socket_path = \"admin.sock\"\n trust_bundle_path = \"bundle.pem\"\n}\n\
         plugins {\n KeyManager \"disk\" { plugin_data { directory = \"$STATE\" } }\n \
         NodeAttestor \"join_token\" { plugin_data {} }\n \
         WorkloadAttestor \"unix\" { plugin_data {} }\n}\n",
    );
    let token = token.strip_prefix("Token: ").unwrap().trim();
    let run =
        ["run", "-config", "agent.conf", "-expandEnv", "-serverPort", &port, "-joinToken", token];
    let agent = Running::start(&programs, "spire-agent", &run, "agent serves").await;

    // Until the agent has joined it has no identity for anybody: watch until it does.
    let mut watch = programs.start("spire-agent", &["api", "watch"]);
    let mut updates = BufReader::new(watch.stdout.take().unwrap()).lines();
    read_to(&mut updates, "SPIFFE ID:\t\tspiffe://example.org/w").await;
    watch.kill().await.unwrap();

    assert_eq!(say(&programs, "spire-agent healthcheck").await, "Agent is healthy.\n");
    let info = say(&programs, "spire-agent debug getinfo -socketPath DIR/admin.sock").await;
    assert!(info.contains("/spire/agent/join_token/"), "{info}");
    let listed = say(&programs, "spire-server agent list").await;
    assert!(listed.starts_with("Found 1 attested agent:\n\nSPIFFE ID         : "), "{listed}");
    agent.terminate().await;
    server.terminate().await;
}

/// As in a pod whose containers do not share their processes: the controller and `kubectl exec` in one of
/// them call the server in the other.
#[tokio::test]
async fn a_server_answers_callers_that_it_cannot_see() {
    let programs = Programs::new();
    programs.write("server.conf", &configuration("data_dir = \"server\""));
    let mut server = programs
        .in_own_processes("spire-server")
        .args(["run", "-config", "server.conf", "-serverPort", &free_port()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    read_to(&mut BufReader::new(server.stdout.take().unwrap()).lines(), "server serves").await;
    assert_eq!(say(&programs, "spire-server entry count").await, "0 registration entries\n");
}

/// Asks again until `is_so`; what else a program's file could be waited for.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_hangup_ends_no_program_and_sigusr2_opens_its_log_anew() {
    let programs = Programs::new();
    programs.write("server.conf", &configuration("data_dir = \"server\""));
    let run = ["run", "-config", "server.conf", "-serverPort", &free_port(), "-logFile", "log"];
    let server = programs.start("spire-server", &run);
    let [log, rotated] = ["log", "log.1"].map(|name| programs.path().join(name));
    let says = async |file: &Path, words: &str| {
        std::fs::read_to_string(file).is_ok_and(|text| text.contains(words))
    };
    until("the start", async || says(&log, "server serves").await).await;
    let pid = Pid::from_raw(i32::try_from(server.id().unwrap()).unwrap()).unwrap();
    for (count, reload) in [Signal::HUP, Signal::USR1].into_iter().enumerate() {
        kill_process(pid, reload).unwrap();
        until("an answer", async || {
            let text = std::fs::read_to_string(&log).unwrap();
            text.matches("the configuration is read at the start only").count() == count + 1
        })
        .await;
    }
    std::fs::rename(&log, &rotated).unwrap();
    kill_process(pid, Signal::USR2).unwrap();
    until("a new log", async || says(&log, "log file reopened").await).await;
    assert!(says(&rotated, "server serves").await && !says(&log, "server serves").await);
    kill_process(pid, Signal::TERM).unwrap();
    let output = server.wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    assert!(says(&log, "SIGTERM").await);
}

#[tokio::test]
async fn why_a_server_does_not_start_is_in_its_log() {
    let programs = Programs::new();
    // A file where the directory should be.
    programs.write("state", "");
    programs.write("server.conf", &configuration("data_dir = \"state\""));
    let run = ["run", "-config", "server.conf", "-logFormat", "json"];
    let outcome = programs.run("spire-server", &run, b"").await;
    assert_eq!((outcome.exit, outcome.stderr.as_str()), (1, ""));
    let last: serde_json::Value =
        serde_json::from_str(outcome.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&last["level"], &last["msg"]), (&"error".into(), &"cannot start".into()));
    let error = last["error"].as_str().unwrap();
    assert!(error.contains("state"), "{error}");
}
