//! The controller as a container runs it: a process with upstream's flags.

use super::fixture::{TEMPLATE, World, pod, spiffe_id};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::symlink,
    process::{Output, Stdio},
};
use tokio::process::{Child, Command};

/// Starts `spire-controller-manager` with a file of this text, as upstream's chart does.
fn start(world: &World, text: &str) -> Child {
    let path = |name: &str| world.dir.path().join(name);
    let program = path("spire-controller-manager");
    symlink(env!("CARGO_BIN_EXE_finial"), &program).unwrap();
    fs::write(path("controller-manager-config.yaml"), text).unwrap();
    Command::new(program)
        .arg(format!("--config={}", path("controller-manager-config.yaml").display()))
        .arg(format!("-kubeconfig={}", world.api.kubeconfig(world.dir.path()).display()))
        .args(["-expand-env", "--zap-log-level=info", "-zap-encoder", "json"])
        .env_clear()
        .env("ENABLE_WEBHOOKS", "false")
        .env("CLUSTER", "c1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn terminated(controller: Child) -> Output {
    let pid = Pid::from_raw(i32::try_from(controller.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    controller.wait_with_output().await.unwrap()
}

#[tokio::test]
async fn upstreams_flags_and_file_make_a_controller_that_obeys_sigterm() {
    let world = World::start().await;
    world.api.put(spiffe_id("all", &json!({"spiffeIDTemplate": TEMPLATE})));
    world.api.put(pod("prod", "web"));
    let socket = world.dir.path().join("private/api.sock");
    let text = format!(
        "apiVersion: spire.spiffe.io/v1alpha1\nkind: ControllerManagerConfig\nclusterName: $CLUSTER\n\
         trustDomain: example.org\nspireServerSocketPath: {}\nsyncPeriod: 10h\n",
        socket.display()
    );
    let controller = start(&world, &text);
    world.until_identities(&["/ns/prod/sa/web"]).await;
    assert_eq!(world.entries()[0].spec.parent_id, super::fixture::agent());
    let output = terminated(controller).await;
    assert!(output.status.success());
    let log = String::from_utf8(output.stdout).unwrap();
    assert!(log.contains("syncPeriod") && log.contains("controller ended"), "{log}");
    assert_eq!(world.identities(), ["/ns/prod/sa/web"], "its end takes nothing away");
}

#[tokio::test]
async fn a_file_that_cannot_work_ends_it_with_the_reason() {
    let world = World::start().await;
    let output =
        start(&world, "clusterName: c\ntrustDomian: x\n").wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("trustDomian") && said.contains("line 2"), "{said}");
}
