//! A server within the bench's own process, for what no API can ask of a server: change its bundle now.

use super::{
    admin::Admin,
    server::{configuration, free_port},
};
use finial::{
    config::{Environment, Source},
    runtime::Clock,
    server::{
        config::{self as server_config, Overrides},
        start::{RunningServer, Server},
    },
    transport::channel::connect_uds,
};
use tempfile::TempDir;

/// A server that runs on the load's core. What it costs is nobody's figure.
pub(crate) struct Host {
    /// The server.
    pub(crate) server: RunningServer,
    /// An administrator of it.
    pub(crate) admin: Admin,
    _folder: TempDir,
}

impl Host {
    /// Starts a server.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("server.sock");
        let text = configuration(free_port()?, &socket, folder.path());
        let path = folder.path().join("server.conf");
        let source = Source::new(&path, text.into_bytes(), Environment::Literal)?;
        let config = server_config::read(&source, &Overrides::default())?.config;
        let server = Server::start(config, Clock::system()).await?;
        let admin = Admin::new(connect_uds(&socket).await?);
        Ok(Self { server, admin, _folder: folder })
    }
}
