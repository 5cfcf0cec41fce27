//! The two listeners: TLS for agents, and the private Unix socket for operators. Binds, and serves each
//! connection through a gate of its own.

use super::{
    caller::{Caller, LocalPeer, Member},
    gate::Gatehouse,
};
use crate::{
    runtime::{Shutdown, TaskSet, tasks::BlockingError},
    transport::{
        Acceptor, Greeting, Limits, PeerCred, Takeover,
        accept::AcceptError,
        admission::Admission,
        greeting::GreetingError,
        serve::serve_all,
        tcp::{self, TlsPeer},
        uds::{self, BindError, Publication},
    },
};
use rustls::ServerConfig;
use std::{
    fs::DirBuilder,
    io,
    net::SocketAddr,
    os::unix::{fs::DirBuilderExt as _, net::UnixListener},
    path::Path,
    sync::Arc,
};
use tokio::net::{TcpListener, TcpSocket};

/// Connects that may wait for our accept: a thousand agents come back at once after a restart (F-30).
const BACKLOG: u32 = 4_096;
/// The owner and the group may administer; the directory keeps all others out (server.md §1.1).
const SOCKET_MODE: u32 = 0o770;
const SOCKET_DIR_MODE: u32 = 0o750;

/// A listener that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address for agents.
    #[error("cannot listen on {address}; set another bind_address or bind_port, or end who has it")]
    Address {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The private socket's name.
    #[error(transparent)]
    Socket(#[from] BindError),
    /// The private socket's first octets.
    #[error(transparent)]
    Greeting(#[from] GreetingError),
    /// The private socket's accept loop.
    #[error(transparent)]
    Accept(#[from] AcceptError),
    /// Binding was cut short.
    #[error(transparent)]
    Blocking(#[from] BlockingError),
}

/// The listener for agents, bound.
pub(super) struct AgentListener {
    listener: TcpListener,
    pub(super) local_addr: SocketAddr,
}

/// The private socket, bound but not yet found by anybody.
pub(super) struct PrivateListener {
    listener: UnixListener,
    publication: Publication,
}

impl AgentListener {
    pub(super) fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let bound = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // A restart must not wait for the connections of before to be forgotten.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let listener = socket.listen(BACKLOG)?;
            let local_addr = listener.local_addr()?;
            Ok(Self { listener, local_addr })
        };
        bound().map_err(|source| ListenError::Address { address, source })
    }

    /// Serves agents until `shutdown`.
    pub(super) fn serve(
        self,
        house: Gatehouse,
        tls: Arc<ServerConfig>,
        tasks: &TaskSet,
        shutdown: &Shutdown,
    ) {
        let gate = move |peer: &TlsPeer| house.gate(tls_caller(peer));
        let (limits, running, end) = (Admission::default(), tasks.clone(), shutdown.clone());
        let serving = tcp::serve_all(self.listener, tls, limits, running, end, gate);
        tasks.spawn("listener for agents", serving);
    }
}

impl PrivateListener {
    /// Binds beside `path`, off the event loop; makes the directory when it is missing. Refuses when a
    /// server has the path.
    pub(super) async fn bind(path: &Path) -> Result<Self, ListenError> {
        let path = path.to_owned();
        TaskSet::blocking(move || {
            if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                make_dir(directory, SOCKET_DIR_MODE).map_err(|source| BindError::Directory {
                    path: directory.to_owned(),
                    source,
                })?;
            }
            let (listener, publication) = uds::bind(&path, SOCKET_MODE, Takeover::Refuse)?;
            Ok(Self { listener, publication })
        })
        .await?
    }

    /// Serves local callers until `shutdown`, and lets them find the socket.
    pub(super) fn serve(
        self,
        house: Gatehouse,
        tasks: &TaskSet,
        shutdown: &Shutdown,
    ) -> Result<(), ListenError> {
        // The socket's mode says who may connect, and what they may do does not depend on their process: a
        // controller in a container of its own cannot be seen from here.
        let (greeting, limits) = (Greeting::record()?, Limits::default());
        let acceptor = Acceptor::start_for_anybody(self.listener, greeting, limits)?;
        self.publication.publish()?;
        let gate = move |peer: &Arc<PeerCred>| house.gate(local_caller(peer));
        let serving = serve_all(acceptor, tasks.clone(), shutdown.clone(), gate);
        tasks.spawn("private listener", serving);
        Ok(())
    }
}

/// Makes a directory and its parents; one that exists keeps its mode.
pub(super) fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

fn tls_caller(peer: &TlsPeer) -> Caller {
    let ip = peer.address.ip();
    match &peer.proof {
        None => Caller::Anonymous { ip },
        Some(proof) => Caller::Member(Member {
            id: proof.id.clone(),
            serial: proof.serial.clone(),
            not_after: proof.not_after,
            ip,
        }),
    }
}

fn local_caller(peer: &PeerCred) -> Caller {
    Caller::Local(LocalPeer { pid: peer.pid, uid: peer.uid, gid: peer.gid })
}
