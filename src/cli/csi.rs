//! `finial csi`, and the personality `spiffe-csi-driver`: the flags of spiffe-csi 0.2.12
//! (`cmd/spiffe-csi-driver/main.go`), and ours for what it leaves to a sidecar, by that sidecar's names
//! (`cmd/csi-node-driver-registrar`).

use super::{
    Failure,
    command::{Command, Listed, Program, made},
    environment,
    flags::FlagSet,
    running::{open_files, until_terminated},
};
use crate::{
    config::{
        Error, Problems,
        log::{Log, LogFlags, RawLog},
    },
    csi::{
        config::{RawCsi, default},
        start::{Csi, RunningCsi},
    },
    runtime::Clock,
    telemetry::Logging,
};
use std::{io, path::Path};

/// The name that this binary has in images made for upstream's manifests.
pub(super) const PERSONALITY: &str = "spiffe-csi-driver";

/// The driver under both of its names, each followed by flags.
pub(super) const PROGRAM: Program =
    Program { name: "finial", commands: &[listed("csi"), listed(PERSONALITY)] };

/// Connections of the kubelet and the descriptors of mounts under way.
const FILES: u64 = 2_000;
/// A mount takes microseconds, under the kernel's one lock for mounts: waking a thread for each would take
/// longer. Two, so that one call that stands still does not stop the others.
const MOUNTING_THREADS: usize = 2;

const fn listed(path: &'static str) -> Listed {
    Listed {
        path,
        synopsis: "Mounts the agent's sockets into pods",
        error_prefix: "Error: ",
        make: made::<Driver>,
    }
}

/// Runs the driver until SIGTERM.
#[derive(Debug)]
struct Driver {
    node_id_env: String,
    raw: RawCsi,
    log: LogFlags,
}

impl Default for Driver {
    fn default() -> Self {
        Self {
            node_id_env: default::NODE_ID_ENV.to_owned(),
            raw: RawCsi {
                node_id: String::new(),
                plugin_name: default::PLUGIN_NAME.to_owned(),
                csi_socket_path: default::CSI_SOCKET_PATH.to_owned(),
                socket_dir: String::new(),
                pods_dir: String::new(),
                node_root: default::NODE_ROOT.to_owned(),
                registration_dir: String::new(),
                endpoint: String::new(),
                http: String::new(),
            },
            log: LogFlags::default(),
        }
    }
}

/// The process lacks what a driver needs.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the event loop: {0}")]
struct RuntimeError(#[source] io::Error);

impl Command for Driver {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        let Self { node_id_env, raw, log: LogFlags { level, format, file } } = self;
        flags.add("node-id", &mut raw.node_id, "The name of this node");
        flags.add("node-id-env", node_id_env, "The variable with that name, if -node-id is empty");
        flags.add("csi-socket-path", &mut raw.csi_socket_path, "The socket for the kubelet");
        flags.add("plugin-name", &mut raw.plugin_name, "The name by which pods ask for volumes");
        flags.add(
            "workload-api-socket-dir",
            &mut raw.socket_dir,
            "The directory of the agent's sockets, which pods get",
        );
        flags.add(
            "kubelet-pods-dir",
            &mut raw.pods_dir,
            "The kubelet's directory of pods; if given, nothing is mounted elsewhere",
        );
        flags.add(
            "node-root",
            &mut raw.node_root,
            "Where the node's files are seen, to keep sockets that are in an emptyDir; needs hostPID if not given",
        );
        flags.add(
            "plugin-registration-path",
            &mut raw.registration_dir,
            "The kubelet's directory of plugins; if given, the driver registers itself there",
        );
        flags.add(
            "kubelet-registration-path",
            &mut raw.endpoint,
            "The socket for the kubelet as the kubelet sees it, if it sees it elsewhere",
        );
        flags.add(
            "http-endpoint",
            &mut raw.http,
            "Where to serve /live, /ready and /metrics, such as :8080; nowhere if not given",
        );
        flags.add("logLevel", level, "error, warn, info, debug or trace");
        flags.add("logFormat", format, "text or json");
        flags.add("logFile", file, "The file to log to instead of standard output");
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let Self { node_id_env, mut raw, log } = *self;
        if raw.node_id.is_empty() {
            raw.node_id = environment::variable(&node_id_env).unwrap_or_default();
        }
        let (config, log) = (raw.validate()?, log_of(&log)?);
        // Lives until the end: dropped, it writes the last lines.
        let logging = Logging::start(&log, Clock::system())?;
        open_files(FILES);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(MOUNTING_THREADS)
            .enable_all()
            .build()
            .map_err(RuntimeError)?;
        until_terminated(
            runtime,
            &logging,
            async |_| Csi::start(config).await,
            async |driver: RunningCsi, shutdown| {
                shutdown.requested().await;
                driver.shutdown().await;
            },
        )
    }
}

fn log_of(flags: &LogFlags) -> Result<Log, Error> {
    let (mut raw, mut problems) = (RawLog::default(), Problems::of(Path::new("flags")));
    raw.overlay("csi", flags, &mut problems);
    if problems.is_empty() { Ok(raw.validate()) } else { Err(Error::Invalid { problems }) }
}
