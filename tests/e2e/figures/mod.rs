//! What the cluster's tests measure. Times are told always and judged only where `FINIAL_BOUNDS` is set, by
//! `make bench-cluster`: what holds on a quiet machine need not on a busy one, and a test is for facts.

mod ready;
#[path = "../../../benches/harness/steal.rs"]
mod steal;
mod storm;
mod watch;

use crate::cluster::Cluster;

/// Megabytes that an agent may take in a cluster, at its busiest.
const AGENT_MB: f64 = 20.0;

/// Megabytes that a controller may.
const CONTROLLER_MB: f64 = 30.0;

/// Tells a time and what it should be at most, in seconds.
pub(crate) fn judge(what: &str, seconds: f64, at_most: f64) {
    eprintln!("{what}: {seconds:.2} s, {at_most} s allowed");
    if is_judged() {
        assert!(seconds <= at_most, "{what}: {seconds:.3} s, expected at most {at_most} s");
    }
}

/// Whether times count.
fn is_judged() -> bool {
    std::env::var_os("FINIAL_BOUNDS").is_some()
}

/// Agent and controller keep to the memory that they are given. Memory is a fact on any machine.
fn agent_and_controller_are_small(cluster: &Cluster) {
    for (program, at_most) in
        [("spire-agent run", AGENT_MB), ("spire-controller-manager", CONTROLLER_MB)]
    {
        let status = status(cluster, program);
        let [resident, own] = ["VmRSS:", "RssAnon:"].map(|key| megabytes(&status, key));
        eprintln!(
            "{program}: {resident:.1} MB resident, {own:.1} MB of it no file's, {at_most} MB allowed"
        );
        assert!(resident <= at_most, "{program} takes {resident:.1} MB, expected {at_most}");
    }
}

/// What the kernel says of the one process whose command line holds this.
fn status(cluster: &Cluster, command_line: &str) -> String {
    let pids = cluster.shell(&format!("pgrep -f '{}'", unmatched_by_itself(command_line)));
    let pids: Vec<&str> = pids.split_whitespace().collect();
    let [pid] = pids[..] else { panic!("{} processes run {command_line}", pids.len()) };
    cluster.shell(&format!("cat /proc/{pid}/status"))
}

/// A value that is told in units of 1,024 octets.
fn megabytes(status: &str, key: &str) -> f64 {
    let value = status.lines().find_map(|line| line.strip_prefix(key)).expect("a value of proc(5)");
    let kilobytes: f64 = value.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes * 1024.0 / 1e6
}

/// A pattern that matches a command line and not the shell that looks for it.
fn unmatched_by_itself(command_line: &str) -> String {
    let (first, rest) = command_line.split_at(1);
    format!("[{first}]{rest}")
}

/// The value below which this share of them lies, of values in any order.
fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}
