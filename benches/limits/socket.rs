//! Unix sockets alone: what no agent can do without for a sidecar that connects, or for a push.

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
const ACK: [u8; 90] = [0x62; 90];

/// CPU time per sidecar of connect, accept, the credential calls and two writes, over `sidecars` that
/// stay connected.
pub(crate) fn attested_connection(sidecars: usize) -> anyhow::Result<Duration> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("raw.sock");
    let listener = UnixListener::bind(&path)?;
    let mut open = Vec::with_capacity(sidecars);
    let before = thread_cpu();
    for _ in 0..sidecars {
        let client = UnixStream::connect(&path)?;
        let (mut server, _) = listener.accept()?;
        credentials(&server)?;
        server.write_all(&SECRET)?;
        server.write_all(&SECRET)?;
        open.push((client, server));
    }
    Ok((thread_cpu() - before) / u32::try_from(sidecars.max(1))?)
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
    let mut pairs = Vec::with_capacity(streams);
    for _ in 0..streams {
        pairs.push(UnixStream::pair()?);
    }
    // Once to touch what the kernel allocates at first use, then to measure.
    round(&mut pairs)?;
    Ok(round(&mut pairs)? / u32::try_from(streams.max(1))?)
}

fn round(pairs: &mut [(UnixStream, UnixStream)]) -> anyhow::Result<Duration> {
    let (mut secret, mut ack) = (SECRET, ACK);
    let started = thread_cpu();
    for (server, _) in &mut *pairs {
        server.write_all(&SECRET)?;
    }
    let writes = thread_cpu() - started;
    for (_, client) in &mut *pairs {
        client.read_exact(&mut secret)?;
        client.write_all(&ACK)?;
    }
    let started = thread_cpu();
    for (server, _) in &mut *pairs {
        server.read_exact(&mut ack)?;
    }
    Ok(writes + (thread_cpu() - started))
}

/// CPU time of one write to each of many sockets.
pub(crate) fn write() -> anyhow::Result<Duration> {
    const SOCKETS: u32 = 500;
    let mut pairs = Vec::new();
    for _ in 0..SOCKETS {
        pairs.push(UnixStream::pair()?);
    }
    round(&mut pairs)?;
    let started = thread_cpu();
    for (server, _) in &mut pairs {
        server.write_all(&SECRET)?;
    }
    Ok((thread_cpu() - started) / SOCKETS)
}
