//! Which program is asked for: by the name this binary was called by, or by the first argument.

use super::{
    agent, command::Program, console, controller, csi, dev, doctor, environment, exit::Exit,
    go::quote::quoted, server,
};
use crate::{dev::envoy::leash, runtime::memory::use_small_pages};
use std::{ffi::OsString, path::Path, process::ExitCode};

const SERVER: Program = Program { name: "spire-server", commands: server::COMMANDS };
const AGENT: Program = Program { name: "spire-agent", commands: agent::COMMANDS };

/// What follows `finial`, with what it is.
const PARTS: &[(Program, &str, &str)] = &[
    (
        Program { name: "finial agent", ..AGENT },
        "agent",
        "The agent: serves the workloads of a node",
    ),
    (Program { name: "finial server", ..SERVER }, "server", "The server: signs for a trust domain"),
];

/// Runs what the process's arguments ask for.
#[must_use]
pub fn main() -> ExitCode {
    // Refused, the program takes more memory and works.
    let _refused = use_small_pages().is_err();
    run(environment::arguments()).into()
}

fn run(arguments: Vec<OsString>) -> Exit {
    let mut arguments = arguments.into_iter();
    let called = arguments.next().unwrap_or_default();
    let arguments = match texts(arguments) {
        Ok(arguments) => arguments,
        Err(message) => {
            console::tell(&message);
            return Exit::Failure;
        }
    };
    match Path::new(&called).file_name().and_then(|name| name.to_str()) {
        Some("spire-server") => SERVER.run(&arguments),
        Some("spire-agent") => AGENT.run(&arguments),
        // It has no commands: its flags follow its name.
        Some(csi::PERSONALITY) => {
            let name = vec![csi::PERSONALITY.to_owned()];
            csi::PROGRAM.run(&[name, arguments].concat())
        }
        Some(controller::PERSONALITY) => {
            let name = vec![controller::PERSONALITY.to_owned()];
            controller::PROGRAM.run(&[name, arguments].concat())
        }
        _ => finial(&arguments),
    }
}

/// Every flag and value of SPIRE is text; bytes that are none are refused before they reach a log.
fn texts(arguments: impl Iterator<Item = OsString>) -> Result<Vec<String>, String> {
    let mut texts = Vec::new();
    for (index, argument) in arguments.enumerate() {
        texts.push(argument.into_string().map_err(|argument| {
            let shown = quoted(&argument.to_string_lossy());
            format!("argument {} is not valid UTF-8: {shown}\n", index + 1)
        })?);
    }
    Ok(texts)
}

fn finial(arguments: &[String]) -> Exit {
    let Some((first, rest)) = arguments.split_first() else {
        console::tell(&usage());
        return Exit::UnknownCommand;
    };
    if let Some((program, ..)) = PARTS.iter().find(|(_, word, _)| word == first) {
        return program.run(rest);
    }
    match first.as_str() {
        "csi" => csi::PROGRAM.run(arguments),
        "controller" => controller::PROGRAM.run(arguments),
        "dev" => dev::PROGRAM.run(arguments),
        "doctor" => doctor::PROGRAM.run(arguments),
        leash::WORD => dev::become_child(rest),
        "-v" | "-version" | "--version" => {
            let shown = console::print(concat!("finial ", env!("CARGO_PKG_VERSION"), "\n"));
            if shown.is_ok() { Exit::Success } else { Exit::Failure }
        }
        "help" | "-h" | "-help" | "--help" => {
            console::tell(&usage());
            Exit::Success
        }
        _ => {
            console::tell(&usage());
            Exit::UnknownCommand
        }
    }
}

fn usage() -> String {
    let mut text = String::from(
        "Usage: finial [--version] [--help] <program> <command> [<args>]\n\nAvailable programs are:\n",
    );
    for (_, word, synopsis) in PARTS {
        text.push_str(&format!("    {word:12}{synopsis}\n"));
    }
    for (word, synopsis) in [
        ("csi", "The CSI driver: mounts the agent's sockets into pods"),
        ("controller", "The controller: makes entries of what Kubernetes declares"),
        ("dev", "Server and agent at once, and two Envoys, to see it work"),
        ("doctor", "Says why a process, or the pods of a cluster, have no identity"),
    ] {
        text.push_str(&format!("    {word:12}{synopsis}\n"));
    }
    text.push_str(
        "\nCalled as spire-server, spire-agent, spire-controller-manager or spiffe-csi-driver, finial is that \
         program.\n",
    );
    text
}
