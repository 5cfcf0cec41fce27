//! Registration in batches, each durable before it is acknowledged, beside SQLite alone on the same
//! disk.

use super::number;
use crate::{
    harness::{
        mesh::identity,
        row::{Bound, Row},
        server::{Server, TRUST_DOMAIN},
    },
    limits::sqlite,
};
use finial::{spiffe::TrustDomain, wire::proto::spire::api::types};
use futures_util::future::try_join_all;
use std::ops::Range;
use tokio::time::Instant;

/// What spire-controller-manager sends at a time.
const BATCH: usize = 50;
const ENTRIES: usize = 20_000;
const CALLERS: usize = 8;
/// SPECIFICATION: ≥ 20,000 entries a second.
const BOUND: f64 = 20_000.0;

pub(crate) async fn run() -> anyhow::Result<Vec<Row>> {
    let server = Server::start().await?;
    create(&server, 0..BATCH * 10).await?;
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let limit = sqlite::entries_per_second(disk.path(), ENTRIES, BATCH)?;

    let alone = ENTRIES..ENTRIES * 2;
    let started = Instant::now();
    create(&server, alone).await?;
    let one = number(ENTRIES) / started.elapsed().as_secs_f64();

    let cpu = server.process.cpu()?;
    let started = Instant::now();
    let share = ENTRIES / CALLERS;
    let ranges = (0..CALLERS).map(|caller| ENTRIES * 2 + caller * share);
    try_join_all(ranges.map(|first| create(&server, first..first + share))).await?;
    let many = number(ENTRIES) / started.elapsed().as_secs_f64();
    let cpu = (server.process.cpu()? - cpu).as_secs_f64() * 1e6 / number(ENTRIES);
    let what = format!("entries created over the API, batches of {BATCH}, durable");
    Ok(vec![
        Row::new("entry_create", format!("{what}, {CALLERS} callers"), many, "/s")
            .limit(limit)
            .bound(Bound::AtLeast(BOUND))
            .detail("server_cpu_µs_per_entry", cpu),
        Row::new("entry_create", format!("{what}, 1 caller"), one, "/s").limit(limit),
    ])
}

/// Creates the entries of these numbers, a batch after the other.
async fn create(server: &Server, numbers: Range<usize>) -> anyhow::Result<()> {
    let parent = TrustDomain::parse(TRUST_DOMAIN)?.member("/node")?;
    let numbers: Vec<_> = numbers.collect();
    for batch in numbers.chunks(BATCH) {
        let entry = |number: &usize| {
            let id = identity(&format!("ns/default/sa/workload-{number}"))?;
            Ok(types::Entry {
                spiffe_id: Some((&id).into()),
                parent_id: Some((&parent).into()),
                selectors: selectors(),
                ..types::Entry::default()
            })
        };
        server.admin.create(batch.iter().map(entry).collect::<anyhow::Result<_>>()?).await?;
    }
    Ok(())
}

fn selectors() -> Vec<types::Selector> {
    let values = ["uid:1000", "gid:1000", "path:/usr/local/bin/envoy"];
    let selector =
        |value: &&str| types::Selector { r#type: "unix".to_owned(), value: (*value).to_owned() };
    values.iter().map(selector).collect()
}
