//! `finial doctor` on a node: a server, an agent and a workload as they are, and the command as an operator
//! runs it.

use crate::{
    agent::{Node, watching},
    cli::{programs::Programs, transcript::Outcome},
};
use finial::{
    agent::{config::AgentConfig, start::RunningAgent},
    spiffe::{EntrySpec, Selector},
    testing::sds::SdsClient,
};
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn agent(node: &Node) -> RunningAgent {
    let admin_socket_path = Some(node.path("admin.sock"));
    let agent = node.agent_with(AgentConfig { admin_socket_path, ..node.config() }).await;
    watching(&agent).await;
    agent
}

/// What the doctor says of a process.
async fn doctor(node: &Node, pid: u32, more: &[&str]) -> Outcome {
    let (pid, socket) = (pid.to_string(), node.path("admin.sock").display().to_string());
    let arguments = [&["doctor", "-pid", &pid, "-socketPath", &socket], more].concat();
    timeout(PATIENCE, Programs::new().run("finial", &arguments, b"")).await.unwrap()
}

async fn json(node: &Node) -> Value {
    let outcome = doctor(node, std::process::id(), &["-output", "json"]).await;
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:?}"))
}

/// The problems, as one text each.
fn problems(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().unwrap().iter();
    let problems = findings.filter(|finding| finding["level"] == "problem");
    problems.map(|finding| finding["what"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_sidecar_that_waits_is_told_what_it_waits_for_and_an_entry_cures_it() {
    let node = Node::start().await;
    let agent = agent(&node).await;
    let sidecar = SdsClient::connect(&agent.socket_path).await.unwrap();
    let mut stream = sidecar.stream(&["default"]).await.unwrap();
    let foreign = sidecar.stream(&["file-root:system"]).await.unwrap();
    // Its requests have arrived when the agent can say what they ask for.
    let report = timeout(PATIENCE, async {
        loop {
            let report = json(&node).await;
            if report["process"]["unanswered"].as_array().unwrap().len() == 2 {
                break report;
            }
        }
    });
    let report = report.await.unwrap();
    let said = problems(&report).join("\n");
    for wanted in [
        "the server has no entry for the workloads of this node",
        "it asks for \"default\" and waits",
        "it asks for \"file-root:system\", which no SPIFFE agent has",
    ] {
        assert!(said.contains(wanted), "{said}");
    }
    assert_eq!(report["process"]["connections"], 1);
    node.fixture.create_entry(node.own("/w")).await;
    timeout(PATIENCE, stream.accept()).await.unwrap().unwrap();
    drop(foreign);
    let text = doctor(&node, std::process::id(), &[]).await.stdout;
    assert!(text.contains("well: it has spiffe://example.org/w\n"), "{text}");
    assert!(!text.contains("\"default\""), "{text}");
    agent.shutdown().await;
}

#[tokio::test]
async fn the_nearest_entry_is_named_with_the_selectors_that_the_process_lacks() {
    let node = Node::start().await;
    let agent = agent(&node).await;
    let also = Selector::parse("unix:supplementary_gid:4242424").unwrap();
    for (path, more) in [("/near", Some(also)), ("/far", None)] {
        let mine = node.own(path);
        let selectors = match more {
            Some(also) => mine.selectors.as_slice().iter().cloned().chain([also]).collect(),
            None => [Selector::parse("unix:uid:4242424").unwrap()].into_iter().collect(),
        };
        node.fixture.create_entry(EntrySpec { selectors, ..mine }).await;
    }
    let report = timeout(PATIENCE, async {
        loop {
            let report = json(&node).await;
            if report["process"]["known_entries"] == 2 {
                break report;
            }
        }
    });
    let report = report.await.unwrap();
    let entries = report["process"]["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "what has nothing in common is not near: {report}");
    assert_eq!(entries[0]["missing_selectors"][0], "unix:supplementary_gid:4242424");
    let wanted = "the nearest, spiffe://example.org/near, wants what it lacks: \
                  unix:supplementary_gid:4242424";
    assert!(problems(&report).iter().any(|problem| problem.contains(wanted)), "{report}");
    agent.shutdown().await;
}

#[tokio::test]
async fn a_process_that_is_none_and_an_agent_that_is_not_there_are_told_apart() {
    let node = Node::start().await;
    let agent = agent(&node).await;
    let nobody = doctor(&node, 0, &[]).await;
    assert_eq!(nobody.exit, 1);
    assert!(nobody.stderr.contains("-pid 0 is no process"), "{nobody:?}");
    // Beyond what the kernel gives out (pid_max).
    let gone = doctor(&node, 1 << 30, &[]).await;
    assert!(gone.exit == 1 && gone.stderr.contains("has ended"), "{gone:?}");
    agent.shutdown().await;
    let absent = doctor(&node, std::process::id(), &[]).await;
    assert!(absent.exit == 1 && absent.stderr.contains("connection error"), "{absent:?}");
}
