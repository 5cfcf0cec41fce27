//! A rotation from end to end: the agent makes a key and a CSR, the server checks and signs, the agent
//! checks again and pushes to two streams. Beside the cryptography and the writes alone: the
//! four operations on P-256 that give a certificate, and all five that the path has.
//!
//! Window by window, the limit after each: how fast the machine is changes by a third within minutes.

use super::{micros, number};
use crate::{
    harness::{
        agent::WorkloadsBy,
        crowd::Crowd,
        machine::{Core, on_core},
        mesh::{Mesh, PATIENCE, check, identity},
        product::Product,
        row::{Bound, Pair, Row},
    },
    limits::rotation::{Raw, Renewals},
    load::{
        fleet::{Fleet, Names, Plan},
        stats::median,
    },
};
use anyhow::ensure;
use finial::wire::proto::spire::api::types;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, sleep};

const IDENTITIES: usize = 1_000;
const STREAMS: usize = 2;
/// Due after about half of it.
const TTL_SECS: i32 = 20;
const WINDOWS: usize = 5;
/// In which every SVID is renewed about once.
const WINDOW: Duration = Duration::from_secs(10);
/// SPECIFICATION: ≤ 2 × (raw key generation + CSR + verify + sign + two socket writes).
const BOUND: f64 = 2.0;

pub(crate) async fn run() -> anyhow::Result<Vec<Row>> {
    let mut crowd = Crowd::new(IDENTITIES)?;
    let mesh = Mesh::of(&Product::Finial, WorkloadsBy::Program).await?;
    let entries = register(&mesh, &crowd).await?;
    let fleet = Fleet::launch(sidecars(&mesh, &mut crowd)?);
    ensure!(fleet.served(PATIENCE).await, "not every sidecar was served");
    let scheduled = scheduled(&mesh, &fleet).await?;
    let at_once = at_once(&mesh, &fleet, entries).await?;
    check(&fleet)?;
    let repeated = fleet.tally().look(|seen| seen.repeated);
    let (four, all_five) =
        (scheduled.beside(|raw| raw.issue), scheduled.beside(|raw| raw.issue + raw.check));
    let what = format!("{IDENTITIES} identities, agent + server CPU per SVID");
    Ok(vec![
        Row::paired("rotation", what, &four, "µs")
            .bound(Bound::TimesLimit(BOUND))
            .detail("agent_µs", median(&scheduled.of(|(cost, _)| cost.agent)))
            .detail("server_µs", median(&scheduled.of(|(cost, _)| cost.server)))
            .detail("svids", scheduled.of(|(cost, _)| cost.svids).iter().sum::<f64>())
            .detail("repeated_pushes", repeated),
        Row::paired(
            "rotation",
            "the same, beside a limit with the agent's check in it",
            &all_five,
            "µs",
        ),
        Row::new("rotation", "all at once, their entries changed: SVIDs", at_once.rate, "/s")
            .detail("agent_µs", at_once.agent)
            .detail("server_µs", at_once.server),
    ])
}

async fn register(mesh: &Mesh, crowd: &Crowd) -> anyhow::Result<Vec<types::Entry>> {
    let mut created = Vec::with_capacity(IDENTITIES);
    let entries: Vec<_> = (0..IDENTITIES)
        .map(|number| {
            let entry = mesh.entry(&format!("w/{number}"))?;
            let selectors = vec![crowd.selector(number)];
            Ok(types::Entry { x509_svid_ttl: TTL_SECS, selectors, ..entry })
        })
        .collect::<anyhow::Result<_>>()?;
    for batch in entries.chunks(50) {
        created.extend(mesh.server.admin.create(batch.to_vec()).await?);
    }
    Ok(created)
}

/// Each identity belongs to a process of its own, which has as many connections as there are writes in
/// the limit.
fn sidecars(mesh: &Mesh, crowd: &mut Crowd) -> anyhow::Result<Plan> {
    let plan = mesh.sidecars(IDENTITIES * STREAMS)?;
    let mut made: Vec<_> = (0..IDENTITIES * STREAMS).map(|_| None).collect();
    for (workload, connections) in crowd.connect(&plan.socket, STREAMS)?.into_iter().enumerate() {
        for (place, connection) in
            made.iter_mut().skip(workload).step_by(IDENTITIES).zip(connections)
        {
            *place = Some(connection);
        }
    }
    let identities = (0..IDENTITIES).map(|number| identity(&format!("w/{number}")));
    let identities = identities.collect::<anyhow::Result<_>>()?;
    let names = Names::Own { identities, others: vec!["ROOTCA".to_owned()] };
    Ok(Plan { names, made: Arc::new(Mutex::new(made)), ..plan })
}

/// What a number of rotations cost, per SVID in µs.
struct Cost {
    agent: f64,
    server: f64,
    svids: f64,
    rate: f64,
}

impl Cost {
    fn total(&self) -> f64 {
        self.agent + self.server
    }
}

/// What the rotations of each window cost, and the raw ones after it.
struct Scheduled(Vec<(Cost, Raw)>);

impl Scheduled {
    fn of(&self, figure: impl Fn(&(Cost, Raw)) -> f64) -> Vec<f64> {
        self.0.iter().map(figure).collect()
    }

    fn beside(&self, limit: impl Fn(&Raw) -> Duration) -> Vec<Pair> {
        let pair =
            |(cost, raw): &(Cost, Raw)| Pair { measured: cost.total(), limit: micros(limit(raw)) };
        self.0.iter().map(pair).collect()
    }
}

/// Rotations as they fall due.
async fn scheduled(mesh: &Mesh, fleet: &Fleet) -> anyhow::Result<Scheduled> {
    let mut raw = Renewals::new(STREAMS)?;
    let mut windows = Vec::with_capacity(WINDOWS);
    for _ in 0..WINDOWS {
        let clock = Clock::start(mesh, fleet)?;
        sleep(WINDOW).await;
        let cost = clock.stop()?;
        windows.push((cost, on_core(Core::Product, || raw.measure())?));
    }
    Ok(Scheduled(windows))
}

/// Every entry changed, so that every SVID is signed anew at once.
async fn at_once(
    mesh: &Mesh,
    fleet: &Fleet,
    mut entries: Vec<types::Entry>,
) -> anyhow::Result<Cost> {
    // Long enough that nothing falls due meanwhile.
    entries.iter_mut().for_each(|entry| entry.x509_svid_ttl = 3_600);
    let clock = Clock::start(mesh, fleet)?;
    for batch in entries.chunks(50) {
        mesh.server.admin.update(batch.to_vec()).await?;
    }
    let deadline = Instant::now() + PATIENCE;
    let all = IDENTITIES * STREAMS;
    let is_done = fleet.tally().wait(deadline, |seen| seen.reached(0) == all).await;
    ensure!(is_done, "not every stream was given its new SVID");
    clock.stop()
}

struct Clock<'a> {
    mesh: &'a Mesh,
    fleet: &'a Fleet,
    started: Instant,
    agent: Duration,
    server: Duration,
}

impl<'a> Clock<'a> {
    fn start(mesh: &'a Mesh, fleet: &'a Fleet) -> anyhow::Result<Self> {
        fleet.tally().mark();
        let (agent, server) = (mesh.agent.process.cpu()?, mesh.server.process.cpu()?);
        Ok(Self { mesh, fleet, started: Instant::now(), agent, server })
    }

    fn stop(self) -> anyhow::Result<Cost> {
        let elapsed = self.started.elapsed();
        let (agent, server) = (self.mesh.agent.process.cpu()?, self.mesh.server.process.cpu()?);
        let pushes = self.fleet.tally().look(|seen| seen.pushes(0));
        let svids = number(pushes) / number(STREAMS);
        ensure!(svids > 0.0, "nothing was renewed");
        Ok(Cost {
            agent: micros(agent - self.agent) / svids,
            server: micros(server - self.server) / svids,
            rate: svids / elapsed.as_secs_f64(),
            svids,
        })
    }
}
