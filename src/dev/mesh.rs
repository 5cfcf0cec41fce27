//! A mesh of two: a client Envoy that passes requests to a server Envoy over mTLS, each with its own
//! identity. Owns both processes; knows nothing of who serves their secrets.

use super::envoy::{
    Envoy, EnvoyError, Part, SdsApi, Sidecar,
    binary::{Binary, BinaryError},
    process::{Launcher, Program},
};
use crate::spiffe::SpiffeId;
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::net::TcpSocket;

/// What the mesh is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Envoy.
    pub binary: Binary,
    /// What starts the two, if not this process directly.
    pub launcher: Option<Launcher>,
    /// Where configurations, logs and admin sockets go; short, for a socket's path has 107 bytes.
    pub directory: PathBuf,
    /// Where each Envoy's own name for the binary goes.
    pub binaries: PathBuf,
    /// Where their secrets come from.
    pub sds_socket: PathBuf,
    /// How they ask for them.
    pub sds_api: SdsApi,
    /// The client's identity.
    pub client: SpiffeId,
    /// The server's identity.
    pub server: SpiffeId,
    /// Names that both ask for besides.
    pub foreign_names: Vec<String>,
}

/// The two Envoys. Dropping it kills them.
#[derive(Debug)]
pub struct Mesh {
    /// Sends.
    pub client: Envoy,
    /// Answers.
    pub server: Envoy,
    /// Where the client takes requests.
    pub plain: SocketAddr,
    _ports: [TcpSocket; 2],
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Sends.
    Client,
    /// Answers.
    Server,
}

/// Why there is no mesh.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// The machine gives no port.
    #[error("cannot reserve a port of 127.0.0.1")]
    Port(#[source] io::Error),
    /// The binary.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// A process.
    #[error(transparent)]
    Envoy(#[from] EnvoyError),
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Client, Self::Server];

    /// What its Envoy and everything of it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

impl Plan {
    /// The path of the executable of one side, by which attestation tells it from the other.
    #[must_use]
    pub fn executable(&self, side: Side) -> PathBuf {
        executable(&self.binaries, side)
    }

    /// The identity of one side.
    #[must_use]
    pub const fn identity(&self, side: Side) -> &SpiffeId {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    /// Starts both Envoys. Nothing is waited for: they may have no identity yet.
    ///
    /// # Errors
    /// When a file, a port or a process cannot be had.
    pub fn start(&self) -> Result<Mesh, MeshError> {
        let (plain_port, plain) = reserve().map_err(MeshError::Port)?;
        let (mesh_port, mesh) = reserve().map_err(MeshError::Port)?;
        Ok(Mesh {
            server: self.launch(Side::Server, Part::Server { mesh })?,
            client: self.launch(Side::Client, Part::Client { plain, mesh })?,
            plain,
            _ports: [plain_port, mesh_port],
        })
    }

    fn launch(&self, side: Side, part: Part) -> Result<Envoy, MeshError> {
        let binary = self.executable(side);
        self.binary.place(&binary)?;
        let program = Program {
            binary: &binary,
            launcher: self.launcher.as_ref(),
            directory: &self.directory,
        };
        let peer = match side {
            Side::Client => &self.server,
            Side::Server => &self.client,
        };
        let sidecar = Sidecar {
            name: side.name().to_owned(),
            sds_socket: self.sds_socket.clone(),
            sds_api: self.sds_api,
            admin_socket: self.directory.join(format!("{}-admin.sock", side.name())),
            part,
            peer: peer.clone(),
            foreign_names: self.foreign_names.clone(),
        };
        Ok(Envoy::start(&program, &sidecar)?)
    }
}

/// The path under which the Envoy of `side` is started from `binaries`.
#[must_use]
pub fn executable(binaries: &Path, side: Side) -> PathBuf {
    binaries.join(format!("envoy-{}", side.name()))
}

impl Mesh {
    /// One of the two.
    #[must_use]
    pub const fn envoy(&self, side: Side) -> &Envoy {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    /// Waits until both have their secrets and accept connections. Dropping it is safe.
    ///
    /// # Errors
    /// When one has ended, or is still not ready after `patience`.
    pub async fn ready(&mut self, patience: Duration) -> Result<(), EnvoyError> {
        self.server.ready(patience).await?;
        self.client.ready(patience).await
    }

    /// Checks that both run.
    ///
    /// # Errors
    /// When one has ended.
    pub fn alive(&mut self) -> Result<(), EnvoyError> {
        self.server.alive()?;
        self.client.alive()
    }

    /// Ends both and waits for that.
    pub async fn stop(self) {
        tokio::join!(self.client.stop(), self.server.stop());
    }
}

/// A port that is ours until the socket is dropped: bound, but not listened on, and shared with the
/// Envoy that will (both set SO_REUSEPORT). Asking for a free port and closing it again would leave a
/// moment for somebody else.
fn reserve() -> io::Result<(TcpSocket, SocketAddr)> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}
