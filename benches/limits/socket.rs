//! Unix sockets alone: what no agent can do without for a sidecar that connects, or for a push. The
//! clients wait on the load's core, see [`super::clients`].

use super::clients::Clients;
use crate::harness::machine::thread_cpu;
use nix::sys::socket::{getsockopt, sockopt};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    process,
    time::Duration,
};

/// Bytes of one secret with its framing: a P-256 SVID with its key, or a bundle of one or two roots.
const SECRET: [u8; 1_700] = [0x61; 1_700];
/// Bytes of one acknowledgement.
static ACK: [u8; 90] = [0x62; 90];

/// CPU time per sidecar of connect, accept, the credential calls and two writes, over `sidecars` that
/// stay connected.
pub(crate) fn attested_connection(sidecars: usize) -> anyhow::Result<Duration> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("raw.sock");
    let listener = UnixListener::bind(&path)?;
    let (mut ours, mut theirs) = (Vec::with_capacity(sidecars), Vec::with_capacity(sidecars));
    let before = thread_cpu();
    for _ in 0..sidecars {
        theirs.push(UnixStream::connect(&path)?);
        let (server, _) = listener.accept()?;
        credentials(&server)?;
        ours.push(server);
    }
    let connected = thread_cpu() - before;
    let clients = Clients::start(&ACK)?;
    theirs.into_iter().try_for_each(|client| clients.add(client))?;
    let before = thread_cpu();
    for server in &mut ours {
        server.write_all(&SECRET)?;
        server.write_all(&SECRET)?;
    }
    Ok((connected + (thread_cpu() - before)) / u32::try_from(sidecars.max(1))?)
}

/// What the kernel knows of a peer, each in one call, and the two files of /proc that tell its user,
/// its groups and when it started.
fn credentials(socket: &UnixStream) -> anyhow::Result<()> {
    let peer = getsockopt(socket, sockopt::PeerCredentials)?;
    drop(getsockopt(socket, sockopt::PeerPidfd)?);
    anyhow::ensure!(peer.pid() == i32::try_from(process::id())?, "not our own peer");
    let mut text = [0_u8; 4_096];
    for file in ["stat", "status"] {
        let length = File::open(format!("/proc/{}/{file}", peer.pid()))?.read(&mut text)?;
        anyhow::ensure!(length > 0, "/proc does not know our own peer");
    }
    Ok(())
}

/// CPU time per stream of one write and of reading its acknowledgement, over `streams` sockets.
pub(crate) fn push(streams: usize) -> anyhow::Result<Duration> {
    let mut pairs = Pairs::new(streams)?;
    // Once to touch what the kernel allocates at first use, then to measure.
    pairs.round()?;
    Ok(pairs.round()? / u32::try_from(streams.max(1))?)
}

/// Connected sockets.
pub(crate) struct Pairs {
    clients: Clients,
    /// The servers' ends.
    pub(crate) servers: Vec<UnixStream>,
}

impl Pairs {
    /// So many, with their clients.
    pub(crate) fn new(count: usize) -> anyhow::Result<Self> {
        let clients = Clients::start(&ACK)?;
        let mut servers = Vec::with_capacity(count);
        for _ in 0..count {
            let (server, client) = UnixStream::pair()?;
            clients.add(client)?;
            servers.push(server);
        }
        Ok(Self { clients, servers })
    }

    /// A secret to each client, then the acknowledgement of each; CPU time of both.
    fn round(&mut self) -> anyhow::Result<Duration> {
        let started = thread_cpu();
        self.servers.iter_mut().try_for_each(send)?;
        let writes = thread_cpu() - started;
        Ok(writes + self.acknowledged()?)
    }

    /// Reads the acknowledgement of a secret that each client was sent; CPU time of that.
    pub(crate) fn acknowledged(&mut self) -> anyhow::Result<Duration> {
        self.clients.answered(self.servers.len());
        let mut ack = ACK;
        let started = thread_cpu();
        self.servers.iter_mut().try_for_each(|server| server.read_exact(&mut ack))?;
        Ok(thread_cpu() - started)
    }
}

/// Writes a secret.
pub(crate) fn send(server: &mut UnixStream) -> io::Result<()> {
    server.write_all(&SECRET)
}
