//! What SPIRE's agent does where a file says nothing.

use std::time::Duration;

/// The file that `run` and `validate` read when no `-config` is given.
pub const CONFIG_PATH: &str = "conf/agent/agent.conf";
/// The directory for what survives a restart.
pub const DATA_DIR: &str = ".";
/// The service account token that Kubernetes gives to the agent's pod.
pub const PSAT_TOKEN_PATH: &str = "/var/run/secrets/tokens/spire-agent";
/// The workloads' socket.
pub const SOCKET_PATH: &str = "/tmp/spire-agent/public/api.sock";
/// The names under which meshes, charts and guides look for the workloads' socket. One that has one of them
/// has all.
pub const ALTERNATE_NAMES: [&str; 3] = ["socket", "spire-agent.sock", "api.sock"];
/// How many workload SVIDs the agent keeps for workloads that are not connected.
pub const X509_SVID_CACHE_MAX_SIZE: usize = 1000;
/// How often the agent asks a server that has no watch stream; below 1 s many agents would flood it.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(5);
/// How often callers in pods are attested anew: one list of pods per node in this time, whoever is connected.
pub const ATTEST_AGAIN_EVERY: Duration = Duration::from_secs(15);
/// The SDS name of a workload's own SVID.
pub const SVID_NAME: &str = "default";
/// The SDS name of the own trust domain's bundle.
pub const BUNDLE_NAME: &str = "ROOTCA";
/// The SDS name of all bundles together.
pub const ALL_BUNDLES_NAME: &str = "ALL";
