//! The real programs take the files that the chart writes for them.

use super::helm::{INSTALLATIONS, list};
use serde_json::Value;
use std::{fs, path::Path, process::Command};

fn told(program: &str, file: &str, text: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file);
    fs::write(&path, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_finial"));
    let output = command.args([program, "validate", "-config"]).arg(path).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn the_agent_takes_the_configuration_of_every_installation() {
    for installation in INSTALLATIONS {
        let rendered = installation.render();
        let (is_valid, told) = told("agent", "agent.conf", rendered.file("agent.conf").unwrap());
        assert!(is_valid, "{installation:?}: {told}");
    }
}

#[test]
fn the_server_takes_the_configuration_of_every_installation() {
    let mut count = 0;
    for installation in INSTALLATIONS {
        let rendered = installation.render();
        let Some(conf) = rendered.file("server.conf") else { continue };
        let (is_valid, told) = told("server", "server.conf", conf);
        assert!(is_valid, "{installation:?}: {told}");
        count += 1;
    }
    assert_eq!(count, 5);
}

#[test]
fn the_doctor_looks_for_the_agents_admin_socket_where_every_installation_has_it() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_finial"));
    let help = command.args(["doctor", "-help"]).output().unwrap();
    let help = String::from_utf8([help.stdout, help.stderr].concat()).unwrap();
    for installation in INSTALLATIONS {
        let rendered = installation.render();
        let conf: Value = serde_json::from_str(rendered.file("agent.conf").unwrap()).unwrap();
        let socket = conf["agent"]["admin_socket_path"].as_str().unwrap();
        assert!(help.contains(&format!("{socket:?}")), "{installation:?}: {socket} in {help}");
        let folder = Path::new(socket).parent().unwrap().to_str().unwrap();
        let pod = &rendered.of("DaemonSet", "agent")["spec"]["template"]["spec"];
        let mounts = list(&pod["containers"][0]["volumeMounts"]);
        assert!(mounts.into_iter().any(|mount| mount["mountPath"] == folder), "{installation:?}");
        // Which process a number stands for is told by the node.
        assert_eq!(pod["hostPID"], true);
    }
}
