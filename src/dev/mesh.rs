//! A mesh of two: a client Envoy that passes requests to a server Envoy over mTLS, each with its own
//! identity. Owns both processes; knows nothing of who serves their secrets.

use super::envoy::{
    Envoy, EnvoyError, Part, SdsApi, Sidecar,
    binary::{Binary, BinaryError},
    leash::Leash,
    process::Program,
};
use crate::spiffe::SpiffeId;
use serde::Serialize;
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
    /// What keeps the two from outliving this process.
    pub leash: Option<Leash>,
    /// Where configurations, logs and admin sockets go; short, for a socket's path has 107 bytes.
    pub directory: PathBuf,
    /// Where each Envoy's own name for the binary goes.
    pub binaries: PathBuf,
    /// Where the secrets of each come from.
    pub sds_sockets: BySide<PathBuf>,
    /// How they ask for them.
    pub sds_api: SdsApi,
    /// Who each is.
    pub identities: BySide<SpiffeId>,
    /// Names that both ask for besides.
    pub foreign_names: Vec<String>,
}

/// The two Envoys. Dropping it kills them.
#[derive(Debug)]
pub struct Mesh {
    /// The processes.
    pub envoys: BySide<Envoy>,
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

/// One thing for each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BySide<T> {
    /// The client's.
    pub client: T,
    /// The server's.
    pub server: T,
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

    /// The one that it talks to.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl<T> BySide<T> {
    /// What `make` says of each.
    pub fn each(mut make: impl FnMut(Side) -> T) -> Self {
        Self { client: make(Side::Client), server: make(Side::Server) }
    }

    /// The one of `side`.
    pub const fn of(&self, side: Side) -> &T {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    /// The one of `side`, to be changed.
    pub const fn of_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }
}

impl Plan {
    /// The path of the executable of one side, by which attestation tells it from the other.
    #[must_use]
    pub fn executable(&self, side: Side) -> PathBuf {
        executable(&self.binaries, side)
    }

    /// Starts both Envoys. Nothing is waited for: they may have no identity yet.
    ///
    /// # Errors
    /// When a file, a port or a process cannot be had.
    pub fn start(&self) -> Result<Mesh, MeshError> {
        let (plain_port, plain) = reserve().map_err(MeshError::Port)?;
        let (mesh_port, mesh) = reserve().map_err(MeshError::Port)?;
        Ok(Mesh {
            envoys: BySide {
                server: self.launch(Side::Server, Part::Server { mesh })?,
                client: self.launch(Side::Client, Part::Client { plain, mesh })?,
            },
            plain,
            _ports: [plain_port, mesh_port],
        })
    }

    fn launch(&self, side: Side, part: Part) -> Result<Envoy, MeshError> {
        let binary = self.executable(side);
        self.binary.place(&binary)?;
        let program =
            Program { binary: &binary, leash: self.leash.as_ref(), directory: &self.directory };
        let sidecar = Sidecar {
            name: side.name().to_owned(),
            sds_socket: self.sds_sockets.of(side).clone(),
            sds_api: self.sds_api,
            admin_socket: self.directory.join(format!("{}-admin.sock", side.name())),
            part,
            peer: self.identities.of(side.other()).clone(),
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
    /// Waits until both have their secrets and accept connections. Dropping it is safe.
    ///
    /// # Errors
    /// When one has ended, or is still not ready after `patience`.
    pub async fn ready(&mut self, patience: Duration) -> Result<(), EnvoyError> {
        self.envoys.server.ready(patience).await?;
        self.envoys.client.ready(patience).await
    }

    /// Checks that both run.
    ///
    /// # Errors
    /// When one has ended.
    pub fn alive(&mut self) -> Result<(), EnvoyError> {
        self.envoys.server.alive()?;
        self.envoys.client.alive()
    }

    /// Ends both and waits for that.
    pub async fn stop(self) {
        tokio::join!(self.envoys.client.stop(), self.envoys.server.stop());
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
