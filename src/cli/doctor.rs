//! `finial doctor`: why a process has no identity, asked of the agent of its node, or what of a cluster keeps
//! pods from theirs, asked of its API server; and the command that leads on. The exit code is 1 unless all
//! is well.

mod cluster;

use self::cluster::Cluster;
use super::{
    Failure,
    command::{Command, Listed, Program, made},
    console,
    flags::{Deadline, FlagSet},
    go::quote::printable,
    output::Output,
    rpc::{self, Spelling, Target},
};
use crate::{
    doctor::{
        Finding, Level,
        process::{Examined, Near, Unanswered, findings},
    },
    wire::proto::finial::agent::debug::v1::{
        Examination, ExamineRequest, doctor_client::DoctorClient,
    },
};
use std::{fmt::Write as _, path::PathBuf, time::Duration};

/// `doctor` as a program of one command, which is called by the program's own word.
pub(super) const PROGRAM: Program = Program {
    name: "finial",
    commands: &[Listed {
        path: "doctor",
        synopsis: "Says why a process, or the pods of a cluster, have no identity",
        error_prefix: "Error: ",
        make: made::<Doctor>,
    }],
};

/// Examines one process, or the cluster.
#[derive(Debug)]
struct Doctor {
    pid: Option<i64>,
    socket_path: String,
    cluster: Cluster,
    timeout: Deadline,
    output: Output,
}

/// No process was named.
#[derive(Debug, thiserror::Error)]
enum PidError {
    /// There is no such process.
    #[error(
        "-pid {0} is no process; give the process as the node sees it, as with: \
         crictl inspect -o go-template --template '{{{{.info.pid}}}}' <container>"
    )]
    NoProcess(i64),
}

/// What goes out as JSON.
#[derive(serde::Serialize)]
struct Report<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<&'a Examined>,
    findings: &'a [Finding],
}

impl Default for Doctor {
    fn default() -> Self {
        Self {
            pid: None,
            socket_path: "/tmp/spire-agent/private/admin.sock".to_owned(),
            cluster: Cluster::default(),
            timeout: Deadline(Duration::from_secs(30)),
            output: Output::default(),
        }
    }
}

impl Command for Doctor {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        flags.add(
            "pid",
            &mut self.pid,
            "A process of this node, by its id on the node; without it the cluster is examined",
        );
        flags.add("socketPath", &mut self.socket_path, "The agent's admin socket, for -pid");
        self.cluster.flags(flags);
        flags.add("timeout", &mut self.timeout, "How long to wait for an answer");
        self.output.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        match self.pid {
            Some(pid) => self.process(pid),
            None => self.tell(None, &self.cluster.findings(self.timeout.0)?),
        }
    }
}

impl Doctor {
    fn process(&self, pid: i64) -> Result<(), Failure> {
        let process = i32::try_from(pid).ok().filter(|pid| *pid > 0);
        let pid = process.ok_or(PidError::NoProcess(pid))?;
        let path = PathBuf::from(&self.socket_path);
        let target = Target { path, spelling: Spelling::Slashes, deadline: self.timeout.0 };
        let answer = target.call(async |channel| -> Result<_, rpc::Error> {
            Ok(DoctorClient::new(channel).examine(ExamineRequest { pid }).await?.into_inner())
        })?;
        let process = examined(answer);
        self.tell(Some(&process), &findings(&process))
    }

    fn tell(&self, process: Option<&Examined>, findings: &[Finding]) -> Result<(), Failure> {
        let text = if self.output.is_json() {
            serde_json::to_string(&Report { process, findings })? + "\n"
        } else {
            process.map(described).unwrap_or_default() + &listed(findings)
        };
        console::print(&text)?;
        let is_well = findings.iter().all(|finding| finding.level == Level::Well);
        if is_well { Ok(()) } else { Err(Failure::Told) }
    }
}

fn examined(answer: Examination) -> Examined {
    let entries = answer.entries.into_iter().map(|entry| Near {
        id: entry.id,
        spiffe_id: entry.spiffe_id,
        missing_selectors: entry.missing_selectors,
        svid_expires_at: entry.svid_expires_at,
    });
    let unanswered = answer
        .unanswered
        .into_iter()
        .map(|name| Unanswered { name: name.name, foreign: name.foreign });
    Examined {
        pid: answer.pid,
        pod_uid: answer.pod_uid,
        container_id: answer.container_id,
        selectors: answer.selectors,
        attestation_error: answer.attestation_error,
        entries: entries.collect(),
        known_entries: answer.known_entries,
        connections: answer.connections,
        unanswered: unanswered.collect(),
        refuses: answer.refuses,
        agent_id: answer.agent_id,
        synced: answer.synced,
    }
}

fn described(process: &Examined) -> String {
    let mut text = format!("Process {}\n", process.pid);
    let or_none = |text: &str| if text.is_empty() { "(none)".to_owned() } else { shown(text) };
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "  Pod UID:      {}\n  Container:    {}\n  Connections:  {}\n",
        or_none(&process.pod_uid),
        or_none(&process.container_id),
        process.connections
    );
    for selector in &process.selectors {
        let _ = writeln!(text, "  Selector:     {}", shown(selector));
    }
    for entry in &process.entries {
        let lacks = entry.missing_selectors.join(", ");
        let standing = if lacks.is_empty() {
            "matches".to_owned()
        } else {
            format!("lacks {}", shown(&lacks))
        };
        let _ = writeln!(text, "  Entry:        {} {standing}", shown(&entry.spiffe_id));
    }
    text
}

fn listed(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let level = match finding.level {
            Level::Well => "well",
            Level::Problem => "problem",
            Level::Unknown => "unknown",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{level}: {}", shown(&finding.what));
        if let Some(next) = &finding.next {
            let _ = writeln!(text, "  next: {}", shown(next));
        }
    }
    text
}

fn shown(text: &str) -> String {
    printable(text).into_owned()
}
