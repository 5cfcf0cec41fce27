//! The socket greets everybody at once, whatever else happens: Istio's proxy waits a second for it and
//! then turns to another SDS server for good.

use super::{millis, number};
use crate::{
    harness::{
        agent::Agent,
        machine::{Core, bind_to},
        mesh::{Mesh, PATIENCE, spoilt},
        row::{Bound, Row},
    },
    load::{
        fleet::{Fleet, Plan},
        stats::percentile,
    },
};
use anyhow::{Context, ensure};
use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::time::{Instant, sleep};

const SIDECARS: usize = 1_000;
const STORMS: usize = 5;
/// SPECIFICATION: within 10 ms of connect (p99), 100 ms at worst.
const P99_MS: f64 = 10.0;
const WORST_MS: f64 = 100.0;

pub(crate) async fn run() -> anyhow::Result<Vec<Row>> {
    let mesh = Mesh::start().await?;
    mesh.register_web().await?;
    let mut latencies = Vec::new();
    let mut void = None;
    for _ in 0..STORMS {
        mesh.agent_at_rest().await?;
        let probe = Probe::start(&mesh.agent.socket);
        let fleet = Fleet::launch(mesh.sidecars(SIDECARS)?);
        fleet.served(PATIENCE).await;
        latencies.extend(probe.finish()?);
        void = void.or(fleet.tally().look(spoilt));
        fleet.hang_up().await;
    }
    let mut rows = rows("while 1,000 connect at once", &latencies, void.as_ref());
    drop(mesh);
    rows.extend(without_server().await?);
    Ok(rows)
}

/// Nobody has an identity, everybody is greeted.
async fn without_server() -> anyhow::Result<Vec<Row>> {
    let agent = Agent::without_server().await?;
    let mut latencies = Vec::new();
    for _ in 0..STORMS {
        let probe = Probe::start(&agent.socket);
        let fleet = Fleet::launch(Plan::istio(agent.socket.clone(), SIDECARS));
        sleep(Duration::from_millis(500)).await;
        latencies.extend(probe.finish()?);
        let broken = fleet.tally().look(|seen| (seen.broken.count, seen.broken.first.clone()));
        ensure!(broken.0 == 0, "waiting streams were ended: {:?}", broken.1);
        fleet.hang_up().await;
    }
    Ok(rows("the same before the server was ever reached", &latencies, None))
}

fn rows(when: &str, latencies: &[Duration], void: Option<&String>) -> Vec<Row> {
    let at = |percent| millis(percentile(latencies, percent));
    let row = |what: &str, value, bound| {
        Row::new("settings", format!("connect → SETTINGS {when}, {what}"), value, "ms")
            .bound(Bound::AtMost(bound))
            .void(void.cloned())
            .detail("probes", number(latencies.len()))
            .detail("p50_ms", at(50.0))
    };
    vec![row("p99", at(99.0), P99_MS), row("worst", at(100.0), WORST_MS)]
}

/// Connects again and again on a thread of its own, which the load does not hold up.
struct Probe {
    thread: JoinHandle<anyhow::Result<Vec<Duration>>>,
    is_over: Arc<AtomicBool>,
}

impl Probe {
    fn start(socket: &Path) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (socket, over) = (socket.to_owned(), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            bind_to(Core::Any);
            let mut latencies = Vec::new();
            while !over.load(Ordering::Relaxed) {
                latencies.push(greeted(&socket)?);
                thread::sleep(Duration::from_millis(1));
            }
            Ok(latencies)
        });
        Self { thread, is_over }
    }

    fn finish(self) -> anyhow::Result<Vec<Duration>> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn greeted(socket: &PathBuf) -> anyhow::Result<Duration> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    const SETTINGS: u8 = 4;
    let started = Instant::now();
    let mut stream = UnixStream::connect(socket).context("probe")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(PREFACE)?;
    let mut head = [0_u8; 9];
    stream.read_exact(&mut head)?;
    let elapsed = started.elapsed();
    ensure!(head.get(3) == Some(&SETTINGS), "the first frame is not SETTINGS: {head:?}");
    Ok(elapsed)
}
