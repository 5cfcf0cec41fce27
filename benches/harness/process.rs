//! A program under test: started on the product's core, watched through /proc, ended with this value.

use super::{
    machine::{Core, on_core, process_cpu},
    product::Product,
};
use anyhow::{Context, bail};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

/// A running program. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

/// Memory in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Pages in memory.
    pub(crate) rss: u64,
    /// The same, shared pages counted by share.
    pub(crate) pss: u64,
}

/// How often a program's threads were given a core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wakeups {
    /// Context switches by its own will: it had gone to sleep, and woke.
    pub(crate) voluntary: u64,
    /// Times that any thread was put on a core, for whatever reason.
    pub(crate) timeslices: u64,
}

impl Process {
    /// Starts the product's program `called`; what it prints goes to `log`.
    pub(crate) fn start(
        product: &Product,
        called: &str,
        args: &[&str],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let output = File::create(log).with_context(|| format!("log {}", log.display()))?;
        let child = on_core(Core::Product, || {
            product
                .command(called)
                .args(args)
                .stdin(Stdio::null())
                .stdout(output.try_clone()?)
                .stderr(output)
                .spawn()
        });
        let child = child.with_context(|| format!("cannot start {product}'s {called}"))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// CPU time used so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        process_cpu(self.child.id()).with_context(|| self.said())
    }

    /// Memory now.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let rollup = self.proc("smaps_rollup")?;
        let field = |name| field(&rollup, name).context("smaps_rollup misses a field");
        Ok(Memory { rss: field("Rss:")?, pss: field("Pss:")? })
    }

    /// Wake-ups so far, over all threads that live.
    pub(crate) fn wakeups(&self) -> anyhow::Result<Wakeups> {
        let mut sum = Wakeups { voluntary: 0, timeslices: 0 };
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let thread = thread?.path();
            let status = fs::read_to_string(thread.join("status"))?;
            sum.voluntary += field(&status, "voluntary_ctxt_switches:").unwrap_or_default();
            // Nanoseconds on a core, nanoseconds waiting, timeslices; absent without CONFIG_SCHEDSTATS.
            let schedstat = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
            let timeslices = schedstat.split_whitespace().nth(2);
            sum.timeslices += timeslices.and_then(|count| count.parse().ok()).unwrap_or(0);
        }
        Ok(sum)
    }

    /// Fails with what the program printed if it has ended.
    pub(crate) fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("ended with {status}: {}", self.said()),
            None => Ok(()),
        }
    }

    /// The last lines that the program printed.
    pub(crate) fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n")
    }

    fn proc(&self, file: &str) -> anyhow::Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).with_context(|| path)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill and nothing to say.
        let _is_killed = self.child.kill().is_ok();
        let _is_reaped = self.child.wait().is_ok();
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
