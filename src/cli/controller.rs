//! `finial controller`, and the personality `spire-controller-manager` with the flags of 0.7
//! (`cmd/main.go`, and controller-runtime's for its log).

use super::{
    Failure,
    command::{Command, Listed, Program, made},
    environment,
    flags::FlagSet,
    running::{open_files, until_terminated},
};
use crate::{
    config::{Environment, Source},
    controller::{
        config::{file::RawController, validate::Surroundings},
        start::{Controller, RunningController},
    },
    runtime::Clock,
    telemetry::Logging,
};
use std::{fs, io, path::Path};

/// The name that this binary has in images made for upstream's manifests.
pub(super) const PERSONALITY: &str = "spire-controller-manager";

/// The controller under both of its names, each followed by flags.
pub(super) const PROGRAM: Program =
    Program { name: "finial", commands: &[listed("controller"), listed(PERSONALITY)] };

/// Watches, webhook connections and probes.
const FILES: u64 = 512;
/// Where the kubelet writes how names are resolved.
const RESOLV_CONF: &str = "/etc/resolv.conf";

const fn listed(path: &'static str) -> Listed {
    Listed {
        path,
        synopsis: "Makes entries of what Kubernetes declares",
        error_prefix: "Error: ",
        make: made::<Run>,
    }
}

/// Runs the controller until SIGTERM.
#[derive(Debug, Default)]
struct Run {
    config: String,
    expand_environment: bool,
    kubeconfig: String,
    socket: String,
    /// controller-runtime's: `true` means a console log at debug level.
    devel: bool,
    encoder: Option<String>,
    level: Option<String>,
    /// Taken and not used: there are no stack traces in the log, and one form of time.
    stacktrace_level: Option<String>,
    time_encoding: Option<String>,
}

/// The process lacks what a controller needs.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the event loop: {0}")]
struct RuntimeError(#[source] io::Error);

impl Command for Run {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        flags.add("config", &mut self.config, "The configuration file, YAML");
        flags.add(
            "expand-env",
            &mut self.expand_environment,
            "Replace $NAME and ${NAME} in the file by environment variables",
        );
        flags.add(
            "kubeconfig",
            &mut self.kubeconfig,
            "The kubeconfig file to come to the API server by, if not by the pod's service account",
        );
        flags.add(
            "spire-api-socket",
            &mut self.socket,
            "The server's private socket (deprecated: use spireServerSocketPath of the file)",
        );
        flags.add("zap-devel", &mut self.devel, "Log everything, for people");
        flags.add("zap-encoder", &mut self.encoder, "console or json");
        flags.add("zap-log-level", &mut self.level, "error, info, debug, or a number for debug");
        flags.add("zap-stacktrace-level", &mut self.stacktrace_level, "Has no effect");
        flags.add("zap-time-encoding", &mut self.time_encoding, "Has no effect");
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let raw = match self.config.as_str() {
            "" => RawController::default(),
            path => {
                let environment = if self.expand_environment {
                    Environment::Expanded(&environment::variable)
                } else {
                    Environment::Literal
                };
                RawController::read(&Source::open(Path::new(path), environment)?)?
            }
        };
        let validated = raw.validate(&self.surroundings())?;
        let config = validated.config;
        // Lives until the end: dropped, it writes the last lines.
        let logging = Logging::start(&config.log, Clock::system())?;
        for key in validated.idle {
            tracing::warn!(key, "this setting of spire-controller-manager has no effect in finial");
        }
        open_files(FILES);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(RuntimeError)?;
        until_terminated(
            runtime,
            &logging,
            async |_| Controller::start(config, Clock::system()).await,
            async |controller: RunningController, shutdown| {
                shutdown.requested().await;
                controller.shutdown().await;
            },
        )
    }
}

impl Run {
    /// What the process knows besides the file.
    fn surroundings(&self) -> Surroundings {
        let given = |path: String| (!path.is_empty()).then(|| path.into());
        let devel = |word: &str| self.devel.then(|| word.to_owned());
        Surroundings {
            socket_flag: self.socket.clone(),
            kubeconfig: given(self.kubeconfig.clone())
                .or_else(|| environment::variable("KUBECONFIG").and_then(given)),
            enable_webhooks: environment::variable("ENABLE_WEBHOOKS"),
            // Without it there is no cluster domain to read off.
            resolv_conf: fs::read_to_string(RESOLV_CONF).unwrap_or_default(),
            log_level: self.level.clone().or_else(|| devel("debug")),
            log_encoding: self.encoder.clone().or_else(|| devel("console")),
        }
    }
}
