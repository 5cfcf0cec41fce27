//! The machine: which core does what, what a process has used, and what the rows say about it.
//!
//! The product runs on one core and the load on another, so that neither is charged for the other.

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::{ClockId, clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use std::{fs, process::Command, sync::OnceLock, thread, time::Duration};

/// Who runs on a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Core {
    /// The load generator and the measuring side.
    Load,
    /// The product under test, and the raw limits it is compared with.
    Product,
    /// Somebody who must not wait for either: wherever there is room.
    Any,
}

/// Binds the calling thread, and what it will start, to the core of `whom`. Where the machine does not
/// give two cores nothing is bound, and the rows say so.
pub(crate) fn bind_to(whom: Core) {
    let mut set = CpuSet::new();
    for core in cores_of(whom) {
        if set.set(*core).is_err() {
            return;
        }
    }
    // Refused in some containers; then the rows are merely noisier.
    let _is_bound = sched_setaffinity(Pid::from_raw(0), &set).is_ok();
}

/// Runs `work` on a thread of its own on the core of `whom`.
pub(crate) fn on_core<T: Send>(whom: Core, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let bound = scope.spawn(|| {
            bind_to(whom);
            work()
        });
        bound.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn cores_of(whom: Core) -> &'static [usize] {
    // Of the process as it was started: the calling thread may be bound already.
    static CORES: OnceLock<Vec<usize>> = OnceLock::new();
    let cores = CORES.get_or_init(|| {
        let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
        (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or_default()).collect()
    });
    match (cores.as_slice(), whom) {
        ([load, _, ..], Core::Load) => std::slice::from_ref(load),
        ([_, product, ..], Core::Product) => std::slice::from_ref(product),
        (all, _) => all,
    }
}

/// CPU time that the calling thread has used.
pub(crate) fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// CPU time that process `pid` has used, with all its threads, those that have ended too. Its
/// resolution is a nanosecond; /proc/PID/stat counts in hundredths of a second.
pub(crate) fn process_cpu(pid: u32) -> anyhow::Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(pid)?))?;
    Ok(clock_gettime(clock)?.into())
}

/// Lets this process and those that it starts have as many open files as the machine allows.
pub(crate) fn raise_file_limit() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    Ok(())
}

/// What the rows say about where and of what they were measured.
pub(crate) fn description() -> Value {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name\t: "));
    let commit = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    json!({
        "commit": commit.unwrap_or_default(),
        "cpu": model,
        "cores_bound": cores_of(Core::Product).len() == 1,
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}
