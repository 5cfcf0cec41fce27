//! `finial doctor`: why a process has no identity, asked of the agent of its node, and the command that leads
//! on. The exit code is 1 when there is a problem.

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
        synopsis: "Says why a process has no identity, and what would give it one",
        error_prefix: "Error: ",
        make: made::<Doctor>,
    }],
};

/// Examines one process.
#[derive(Debug)]
struct Doctor {
    pid: i64,
    socket_path: String,
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
    process: &'a Examined,
    findings: &'a [Finding],
}

impl Default for Doctor {
    fn default() -> Self {
        Self {
            pid: 0,
            socket_path: "/tmp/spire-agent/private/admin.sock".to_owned(),
            timeout: Deadline(Duration::from_secs(30)),
            output: Output::default(),
        }
    }
}

impl Command for Doctor {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        flags.add("pid", &mut self.pid, "The process, by its id on the node");
        flags.add("socketPath", &mut self.socket_path, "The agent's admin socket");
        flags.add("timeout", &mut self.timeout, "How long to wait for an answer");
        self.output.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let pid = i32::try_from(self.pid).ok().filter(|pid| *pid > 0);
        let pid = pid.ok_or(PidError::NoProcess(self.pid))?;
        let path = PathBuf::from(&self.socket_path);
        let target = Target { path, spelling: Spelling::Slashes, deadline: self.timeout.0 };
        let answer = target.call(async |channel| -> Result<_, rpc::Error> {
            Ok(DoctorClient::new(channel).examine(ExamineRequest { pid }).await?.into_inner())
        })?;
        let process = examined(answer);
        let findings = findings(&process);
        let text = if self.output.is_json() {
            serde_json::to_string(&Report { process: &process, findings: &findings })? + "\n"
        } else {
            text(&process, &findings)
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

fn text(process: &Examined, findings: &[Finding]) -> String {
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
    for finding in findings {
        let level = match finding.level {
            Level::Well => "well",
            Level::Problem => "problem",
        };
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
