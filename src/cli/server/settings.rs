//! The flags of `run` and `validate`, and the configuration they make of a file.

use crate::{
    cli::{environment, flags::FlagSet},
    config::{Environment, Error, Loaded, log::LogFlags},
    server::config::{self, Overrides, ServerConfig},
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
        let Overrides { bind_address, server_port, socket_path, trust_domain, data_dir, log } =
            &mut self.overrides;
        let LogFlags { level, format, file } = log;
        flags.add("config", &mut self.path, "The configuration file");
        flags.add(
            "expandEnv",
            &mut self.expand_environment,
            "Replace $NAME and ${NAME} in the file by environment variables",
        );
        flags.add("bindAddress", bind_address, "The IP address agents reach the server on");
        flags.add("serverPort", server_port, "The port agents reach the server on");
        flags.add("socketPath", socket_path, "Where to put the private socket");
        flags.add("trustDomain", trust_domain, "The trust domain to sign for");
        flags.add("dataDir", data_dir, "The directory for what must survive a restart");
        flags.add("logLevel", level, "error, warn, info, debug or trace");
        flags.add("logFormat", format, "text or json");
        flags.add("logFile", file, "The file to log to instead of standard output");
    }

    /// Reads the file and puts the flags over it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn load(&self) -> Result<Loaded<ServerConfig>, Error> {
        let path = if self.path.is_empty() { config::default::CONFIG_PATH } else { &self.path };
        let environment = if self.expand_environment {
            Environment::Expanded(&environment::variable)
        } else {
            Environment::Literal
        };
        config::load(Path::new(path), environment, &self.overrides)
    }
}
