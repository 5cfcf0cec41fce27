//! One product, started afresh, through everything that is compared.

use super::{
    figure::{FEW, Figure, IDLE_SECS, MANY, PUSHES, Sample},
    fleet, late, push,
};
use crate::{
    harness::{agent::WorkloadsBy, mesh::Mesh, process::Process, product::Product},
    load::fleet::Fleet,
    promises::{millis, number},
};
use finial::wire::proto::spire::api::types;
use std::time::Duration;
use tokio::time::sleep;

/// For an allocator, or a garbage collector, that gives pages back late.
const REST: Duration = Duration::from_secs(3);

/// Measures `product` and tells each figure to `record` as soon as it is there.
pub(super) async fn run(
    product: &Product,
    record: &mut impl FnMut(Figure, Sample),
) -> anyhow::Result<()> {
    let mesh = Mesh::of(product, WorkloadsBy::User).await?;
    let mut web = late::web(&mesh).await?;
    let megabytes = |process: &Process| anyhow::Ok(number(process.memory()?.rss) * 1.024 / 1e3);
    record(Figure::AgentMemory, Ok(megabytes(&mesh.agent.process)?));
    record(Figure::ServerMemory, Ok(megabytes(&mesh.server.process)?));

    let (first, served) = fleet::in_turn(&mesh, FEW).await?;
    record(Figure::FewCpu, Ok(served.cpu));
    record(Figure::FewTime, Ok(served.time));
    idle(&mesh, record).await?;
    let few = pushed(&mesh, &mut web, &[&first], &mut |_, _| ()).await?;
    let (others, served) = fleet::in_turn(&mesh, MANY - FEW).await?;
    record(Figure::ManyCpu, Ok(served.cpu));
    record(Figure::ManyTime, Ok(served.time));
    let many = pushed(&mesh, &mut web, &[&first, &others], record).await?;
    // KiB to KB.
    let slope = number(many.saturating_sub(few)) * 1.024 / number(MANY - FEW);
    record(Figure::SidecarMemory, Ok(slope));
    first.hang_up().await;
    others.hang_up().await;

    let late = late::late(&mesh).await?;
    record(Figure::LateMedian, Ok(late.median));
    record(Figure::LateLongest, Ok(late.longest));
    // The last, for a spire-agent does not recover from it.
    let [cpu, time] = fleet::at_once(&mesh, MANY).await?;
    record(Figure::AtOnceCpu, cpu);
    record(Figure::AtOnceTime, time);
    Ok(())
}

/// Lets a time pass in which nobody wants anything.
async fn idle(mesh: &Mesh, record: &mut impl FnMut(Figure, Sample)) -> anyhow::Result<()> {
    mesh.agent_at_rest().await?;
    let (agent, server) = (&mesh.agent.process, &mesh.server.process);
    let before = (agent.cpu()?, server.cpu()?, agent.wakeups()?.voluntary);
    sleep(Duration::from_secs(IDLE_SECS.into())).await;
    let after = (agent.cpu()?, server.cpu()?, agent.wakeups()?.voluntary);
    let seconds = f64::from(IDLE_SECS);
    record(Figure::IdleAgentCpu, Ok(millis(after.0 - before.0) / seconds));
    record(Figure::IdleServerCpu, Ok(millis(after.1 - before.1) / seconds));
    let wakeups = number(after.2.saturating_sub(before.2)) / seconds;
    record(Figure::IdleAgentWakeups, Ok(wakeups));
    Ok(())
}

/// Replaces the SVID of every sidecar a few times; the agent's memory afterwards, in KiB.
async fn pushed(
    mesh: &Mesh,
    web: &mut types::Entry,
    fleets: &[&Fleet],
    record: &mut impl FnMut(Figure, Sample),
) -> anyhow::Result<u64> {
    for _ in 0..PUSHES {
        let pushed = push::push(mesh, web, fleets).await?;
        record(Figure::PushCpu, Ok(pushed.cpu));
        record(Figure::PushTime, Ok(pushed.time));
    }
    sleep(REST).await;
    Ok(mesh.agent.process.memory()?.rss)
}
