//! Unix sockets alone: what no agent can do without for a sidecar that connects, or for a push. The
//! clients wait on the load's core, see [`super::clients`].

use super::clients::Clients;
use crate::harness::machine::thread_cpu;
use nix::sys::socket::{getsockopt, sockopt};
use std::{
    fs::File,
    io::{Read, Write},
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
    let (clients, mut servers) = pairs(streams)?;
    // Once to touch what the kernel allocates at first use, then to measure.
    round(&clients, &mut servers)?;
    let Round { writes, reads } = round(&clients, &mut servers)?;
    Ok((writes + reads) / u32::try_from(streams.max(1))?)
}

/// What one round over all sockets took.
struct Round {
    writes: Duration,
    reads: Duration,
}

/// The servers' ends of `count` sockets, and their clients.
fn pairs(count: usize) -> anyhow::Result<(Clients, Vec<UnixStream>)> {
    let clients = Clients::start(&ACK)?;
    let mut servers = Vec::with_capacity(count);
    for _ in 0..count {
        let (server, client) = UnixStream::pair()?;
        clients.add(client)?;
        servers.push(server);
    }
    Ok((clients, servers))
}

/// A secret to each client, then the acknowledgement of each.
fn round(clients: &Clients, servers: &mut [UnixStream]) -> anyhow::Result<Round> {
    let started = thread_cpu();
    for server in &mut *servers {
        server.write_all(&SECRET)?;
    }
    let writes = thread_cpu() - started;
    clients.answered(servers.len());
    let mut ack = ACK;
    let started = thread_cpu();
    for server in &mut *servers {
        server.read_exact(&mut ack)?;
    }
    Ok(Round { writes, reads: thread_cpu() - started })
}

/// CPU time of one write to each of `sockets` sockets.
pub(crate) fn write(sockets: usize) -> anyhow::Result<Duration> {
    let (clients, mut servers) = pairs(sockets)?;
    round(&clients, &mut servers)?;
    Ok(round(&clients, &mut servers)?.writes / u32::try_from(sockets.max(1))?)
}
