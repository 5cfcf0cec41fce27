//! finial under its other names, run in a directory of its own.

use super::transcript::Outcome;
use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
};

/// A directory with `spire-server` and `spire-agent`, where both have their sockets.
pub(crate) struct Programs {
    directory: TempDir,
    /// In memory, where an agent leaves its SVIDs for the next one: `$STATE` of a configuration file.
    memory: TempDir,
}

impl Programs {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        for name in ["spire-server", "spire-agent", "finial"] {
            symlink(env!("CARGO_BIN_EXE_finial"), directory.path().join(name)).unwrap();
        }
        fs::create_dir(directory.path().join("pub")).unwrap();
        fs::create_dir(directory.path().join("w2")).unwrap();
        let memory = tempfile::Builder::new().prefix("finial-").tempdir_in("/dev/shm").unwrap();
        Self { directory, memory }
    }

    /// The same with a real SPIRE's programs in `folder` beside them, as `spire/spire-server` and
    /// `spire/spire-agent`.
    pub(crate) fn with_spire(folder: &Path) -> Self {
        let programs = Self::new();
        symlink(folder, programs.path().join("spire")).unwrap();
        programs
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn server_socket(&self) -> PathBuf {
        self.path().join("server.sock")
    }

    pub(crate) fn agent_socket(&self) -> PathBuf {
        self.path().join("pub/api.sock")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    /// Starts a program with its streams in our hands.
    pub(crate) fn start<S: AsRef<OsStr>>(&self, program: &str, arguments: &[S]) -> Child {
        self.command(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// A program in our directory that ends with us.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.prepared(Command::new(self.path().join(program)))
    }

    /// The same as the first process of a PID namespace, from which it sees nobody of ours. Needs root.
    pub(crate) fn in_own_processes(&self, program: &str) -> Command {
        let mut command = Command::new("/usr/bin/unshare");
        command.args(["--pid", "--fork", "--kill-child"]).arg(self.path().join(program));
        self.prepared(command)
    }

    fn prepared(&self, mut command: Command) -> Command {
        command
            .current_dir(self.path())
            .env_clear()
            .env("TZ", "UTC")
            .env("STATE", self.memory.path().join("agent"))
            .env("SPIRE_SERVER_PRIVATE_SOCKET", self.server_socket())
            .env("SPIRE_AGENT_PUBLIC_SOCKET", self.agent_socket())
            .kill_on_drop(true);
        command
    }

    /// Runs a program to its end; `DIR` in an argument, and in what it prints, is our directory.
    pub(crate) async fn run(&self, program: &str, arguments: &[&str], stdin: &[u8]) -> Outcome {
        let directory = self.path().to_str().unwrap();
        let arguments: Vec<OsString> =
            arguments.iter().map(|word| word.replace("DIR", directory).into()).collect();
        let mut child = self.start(program, &arguments);
        let mut input = child.stdin.take().unwrap();
        let feed = async {
            // A program that refuses its input closes it.
            let _refused = input.write_all(stdin).await;
            drop(input);
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), feed);
        let output = output.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(directory, "DIR");
        Outcome {
            exit: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}
