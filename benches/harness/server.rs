//! A server under test.

use super::{admin::Admin, process::Process, product::Product};
use anyhow::{Context, ensure};
use finial::transport::channel::connect_uds;
use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;

/// A running server with a fresh database on the disk that cargo builds on.
pub(crate) struct Server {
    /// The process.
    pub(crate) process: Process,
    /// An administrator of it.
    pub(crate) admin: Admin,
    /// Where agents connect.
    pub(crate) port: u16,
    /// Where operators connect.
    pub(crate) socket: PathBuf,
    _sockets: TempDir,
    _data: TempDir,
}

/// The trust domain of every bench.
pub(crate) const TRUST_DOMAIN: &str = "example.org";

impl Server {
    /// Starts finial's server and waits until its API answers.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::of(&Product::Finial).await
    }

    /// Starts the product's server and waits until its API answers.
    pub(crate) async fn of(product: &Product) -> anyhow::Result<Self> {
        let sockets = tempfile::tempdir()?;
        // Not in /tmp, which is memory on some machines: a durable write shall reach a disk.
        let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let port = free_port()?;
        let socket = sockets.path().join("server.sock");
        let config = sockets.path().join("server.conf");
        fs::write(&config, configuration(port, &socket, data.path()))?;
        let args = ["run", "-config", config.to_str().context("a temporary path that is UTF-8")?];
        let log = sockets.path().join("server.log");
        let mut process = Process::start(product, "spire-server", &args, &log)?;
        let admin = Admin::new(answering(&mut process, &socket).await?);
        Ok(Self { process, admin, port, socket, _sockets: sockets, _data: data })
    }
}

async fn answering(process: &mut Process, socket: &Path) -> anyhow::Result<Channel> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Ok(channel) = connect_uds(socket).await {
            return Ok(channel);
        }
        process.check_alive()?;
        ensure!(Instant::now() < deadline, "the server's socket stays away: {}", process.said());
        sleep(Duration::from_millis(10)).await;
    }
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

pub(super) fn configuration(port: u16, socket: &Path, data: &Path) -> String {
    format!(
        r#"server {{
    bind_address = "127.0.0.1"
    bind_port = {port}
    socket_path = "{}"
    trust_domain = "{TRUST_DOMAIN}"
    data_dir = "{data}"
    log_level = "WARN"
    ratelimit {{
        attestation = false
        signing = false
    }}
}}
plugins {{
    DataStore "sql" {{
        plugin_data {{
            database_type = "sqlite3"
            connection_string = "{data}/datastore.sqlite3"
        }}
    }}
    KeyManager "memory" {{
        plugin_data {{}}
    }}
    NodeAttestor "join_token" {{
        plugin_data {{}}
    }}
}}
"#,
        socket.display(),
        data = data.display(),
    )
}
