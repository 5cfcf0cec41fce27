//! The real programs take the files that the chart writes for them.

use super::helm::INSTALLATIONS;
use std::{fs, process::Command};

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
