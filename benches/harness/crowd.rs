//! Workloads that are processes of their own, so that the agent tells them apart: each runs this very
//! program under a name of its own, connects to the agent and hands the connections back. What it
//! connected stays its own in the kernel's eyes, for as long as it lives.

use super::machine::{Core, on_core};
use anyhow::{Context, ensure};
use clap::Args;
use finial::wire::proto::spire::api::types::Selector;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::{
    env, fs,
    io::{IoSlice, IoSliceMut, Read, Write, stdin},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// Connect to an agent and hand the connections to the parent (used by the benches themselves).
#[derive(Debug, Args)]
pub(crate) struct Member {
    /// The agent's socket.
    socket: PathBuf,
    /// How many connections.
    connections: usize,
}

/// The processes. Dropping it ends them, and with them their connections.
pub(crate) struct Crowd {
    folder: TempDir,
    count: usize,
    members: Vec<(Child, UnixStream)>,
}

/// What a workload waits for before it connects.
const GO: &[u8] = b"!";
/// What one message can carry.
const MOST: usize = 16;

impl Crowd {
    /// `count` names for this program; nothing runs yet.
    pub(crate) fn new(count: usize) -> anyhow::Result<Self> {
        // A hard link needs the file system of the program itself.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let program = env::current_exe()?;
        for number in 0..count {
            fs::hard_link(&program, name(folder.path(), number))?;
        }
        Ok(Self { folder, count, members: Vec::with_capacity(count) })
    }

    /// What only workload `number` is.
    pub(crate) fn selector(&self, number: usize) -> Selector {
        let path = name(self.folder.path(), number);
        Selector { r#type: "unix".to_owned(), value: format!("path:{}", path.display()) }
    }

    /// Starts every workload and has each connect to `socket` so many times: the connections of each.
    pub(crate) fn connect(
        &mut self,
        socket: &Path,
        connections: usize,
    ) -> anyhow::Result<Vec<Vec<UnixStream>>> {
        for number in 0..self.count {
            let (ours, theirs) = UnixStream::pair()?;
            let mut command = Command::new(name(self.folder.path(), number));
            command.arg("member").arg(socket).arg(connections.to_string());
            command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
            self.members.push((on_core(Core::Any, || command.spawn())?, ours));
        }
        // All at once, when all have started: a connection that stays silent for long is closed.
        for (_, member) in &mut self.members {
            member.write_all(GO)?;
        }
        self.members.iter().map(|(_, member)| receive(member, connections)).collect()
    }
}

impl Member {
    /// Connects, hands over, and stays until the parent ends.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        stdin().read_exact(&mut [0; GO.len()])?;
        let made: Vec<_> = (0..self.connections)
            .map(|_| UnixStream::connect(&self.socket))
            .collect::<Result<_, _>>()?;
        let fds: Vec<_> = made.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        ensure!(control.push(SendAncillaryMessage::ScmRights(&fds)), "at most {MOST} connections");
        sendmsg(stdin(), &[IoSlice::new(b".")], &mut control, SendFlags::empty())?;
        // Ours must go, or nobody sees when the parent closes its own.
        drop(made);
        stdin().read_to_end(&mut Vec::new())?;
        Ok(())
    }
}

fn name(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("workload-{number}"))
}

fn receive(from: &UnixStream, connections: usize) -> anyhow::Result<Vec<UnixStream>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut octet = [0];
    recvmsg(from, &mut [IoSliceMut::new(&mut octet)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut made = Vec::with_capacity(connections);
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            made.extend(fds.map(UnixStream::from));
        }
    }
    ensure!(made.len() == connections, "a workload made {} connections", made.len());
    made.iter().try_for_each(|stream| stream.set_nonblocking(true)).context("a handed socket")?;
    Ok(made)
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for (member, _) in &mut self.members {
            // One that has ended already needs neither.
            let _is_killed = member.kill().is_ok();
            let _is_reaped = member.wait().is_ok();
        }
    }
}
