//! The flags of `run` and `validate`, and the configuration they make of a file.

use crate::{
    agent::config::{self, AgentConfig, Overrides},
    cli::{environment, flags::FlagSet},
    config::{Environment, Error, Loaded, log::LogFlags},
};
use std::path::Path;

/// The configuration file, and what goes over it.
#[derive(Debug, Default)]
pub(super) struct Settings {
    path: String,
    expand_environment: bool,
    overrides: Overrides,
}

impl Settings {
    /// Adds its flags.
    pub(super) fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        let overrides = &mut self.overrides;
        let LogFlags { level, format, file } = &mut overrides.log;
        flags.add("config", &mut self.path, "The configuration file");
        flags.add(
            "expandEnv",
            &mut self.expand_environment,
            "Replace $NAME and ${NAME} in the file by environment variables",
        );
        flags.add(
            "serverAddress",
            &mut overrides.server_address,
            "The name or IP address of the server",
        );
        flags.add("serverPort", &mut overrides.server_port, "The port of the server");
        flags.add("socketPath", &mut overrides.socket_path, "Where to put the public socket");
        flags.add("trustDomain", &mut overrides.trust_domain, "The trust domain of the agent");
        flags.add(
            "trustBundle",
            &mut overrides.trust_bundle,
            "The file with the CA certificates to trust the server by at first",
        );
        flags.add(
            "trustBundleFormat",
            &mut overrides.trust_bundle_format,
            "The form of that file: pem or spiffe",
        );
        flags.add(
            "insecureBootstrap",
            &mut overrides.insecure_bootstrap,
            "Trust whatever server answers first",
        );
        flags.add(
            "joinToken",
            &mut overrides.join_token,
            "The join token that token generate printed",
        );
        flags.add("joinTokenFile", &mut overrides.join_token_file, "The file with the join token");
        flags.add(
            "dataDir",
            &mut overrides.data_dir,
            "The directory for what must survive a restart",
        );
        flags.add("logLevel", level, "error, warn, info, debug or trace");
        flags.add("logFormat", format, "text or json");
        flags.add("logFile", file, "The file to log to instead of standard output");
    }

    /// Reads the file and puts the flags over it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn load(&self) -> Result<Loaded<AgentConfig>, Error> {
        let path = if self.path.is_empty() { config::default::CONFIG_PATH } else { &self.path };
        let environment = if self.expand_environment {
            Environment::Expanded(&environment::variable)
        } else {
            Environment::Literal
        };
        config::load(Path::new(path), environment, &self.overrides)
    }
}
