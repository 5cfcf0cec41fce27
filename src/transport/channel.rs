//! Client channels: mutual TLS to a server by name and port, and plain HTTP/2 to a Unix socket.
//!
//! The first connection is made here, so that its failure has a type; later ones are made by the
//! channel itself when the last has ended, with the names, bundles and SVID of that moment.

use super::{
    dial::dial,
    mtls::{self, MtlsError},
    verify::{PeerError, ServerTrust},
};
use crate::{
    runtime::{Clock, Reader},
    spiffe::X509Svid,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls_pki_types::ServerName;
use std::{
    error::Error as StdError,
    fmt, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpStream, UnixStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};

/// What generated clients should accept per message. A complete set of entries comes as one message
/// and passes gRPC's default of 4 MiB at some ten thousand entries (server.md §0.8).
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// Name resolution, TCP and TLS together.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A peer that vanished without a word is noticed within 40 s (F-10), at two packets a minute.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Large enough that a first synchronisation is not paced by round trips.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// A server's name or address, and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A DNS name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// No connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host cannot be the name of a TLS server, or the path that of a socket.
    #[error("{0:?} is neither a host name nor an IP address")]
    Host(String),
    /// The name does not resolve.
    #[error("no address of {0}")]
    Resolve(Address, #[source] io::Error),
    /// Nobody answers at any of its addresses; the error is the last one's.
    #[error("cannot connect to {0}")]
    Tcp(Address, #[source] io::Error),
    /// Took too long.
    #[error("no connection to {0} within {secs} s", secs = CONNECT_WITHIN.as_secs())]
    Timeout(Address),
    /// The TLS handshake failed. [`ConnectError::peer`] tells whether we refused the server.
    #[error("TLS handshake with {0}")]
    Tls(Address, #[source] io::Error),
    /// TLS cannot be set up at all.
    #[error(transparent)]
    Setup(#[from] MtlsError),
    /// Nobody serves the Unix socket.
    #[error("cannot connect to {}", .0.display())]
    Unix(PathBuf, #[source] io::Error),
    /// The other side does not speak HTTP/2.
    #[error("no HTTP/2 connection")]
    Http2(#[source] tonic::transport::Error),
}

impl ConnectError {
    /// Why we refused the server's certificate, if that is what happened.
    #[must_use]
    pub fn peer(&self) -> Option<&PeerError> {
        let Self::Tls(_, source) = self else { return None };
        source.get_ref()?.downcast_ref().and_then(mtls::peer_error)
    }

    /// The connect error behind a failed call, when the channel had lost its connection and could not
    /// make another one.
    #[must_use]
    pub fn behind(status: &tonic::Status) -> Option<&Self> {
        let mut cause = status.source();
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            cause = error.source();
        }
        None
    }
}

/// Connects to the server at `address`, which must be whom `server` says, over TLS. With an `svid` we
/// show what it is at that moment; the verification reads bundles in the same way.
///
/// # Errors
/// Why there is no connection. Dropping the future closes what it opened.
pub async fn connect(
    address: &Address,
    server: ServerTrust,
    svid: Option<Reader<Arc<X509Svid>>>,
    clock: Clock,
) -> Result<Channel, ConnectError> {
    let name = ServerName::try_from(address.host.clone())
        .map_err(|_| ConnectError::Host(address.host.clone()))?;
    let endpoint = Endpoint::from_shared(format!("https://{address}"))
        .map_err(|_| ConnectError::Host(address.host.clone()))?
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    let tls = TlsConnector::from(mtls::client_config(server, svid, clock)?);
    let dialer = Arc::new(Dialer { address: address.clone(), name, tls });
    let first = Arc::new(Mutex::new(Some(dialer.dial().await?)));
    let connector = tower::service_fn(move |_: http::Uri| {
        let (dialer, first) = (Arc::clone(&dialer), first.lock().take());
        async move {
            match first {
                Some(stream) => Ok(TokioIo::new(stream)),
                None => dialer.dial().await.map(TokioIo::new),
            }
        }
    });
    windows(endpoint).connect_with_connector(connector).await.map_err(ConnectError::Http2)
}

/// Connects to the Unix socket at `path`.
///
/// # Errors
/// When nobody serves it. Dropping the future closes what it opened.
pub async fn connect_uds(path: &Path) -> Result<Channel, ConnectError> {
    let first = Arc::new(Mutex::new(Some(dial_uds(path).await?)));
    let path = path.to_owned();
    let connector = tower::service_fn(move |_: http::Uri| {
        let (path, first) = (path.clone(), first.lock().take());
        async move {
            match first {
                Some(stream) => Ok(TokioIo::new(stream)),
                None => dial_uds(&path).await.map(TokioIo::new),
            }
        }
    });
    let endpoint = windows(Endpoint::from_static("http://localhost"));
    endpoint.connect_with_connector(connector).await.map_err(ConnectError::Http2)
}

fn windows(endpoint: Endpoint) -> Endpoint {
    endpoint
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

async fn dial_uds(path: &Path) -> Result<UnixStream, ConnectError> {
    UnixStream::connect(path).await.map_err(|source| ConnectError::Unix(path.to_owned(), source))
}

/// Makes connections to one server.
struct Dialer {
    address: Address,
    name: ServerName<'static>,
    tls: TlsConnector,
}

impl Dialer {
    async fn dial(&self) -> Result<TlsStream<TcpStream>, ConnectError> {
        timeout(CONNECT_WITHIN, self.dial_unhurried())
            .await
            .unwrap_or_else(|_| Err(ConnectError::Timeout(self.address.clone())))
    }

    async fn dial_unhurried(&self) -> Result<TlsStream<TcpStream>, ConnectError> {
        let tcp = self.dial_tcp().await?;
        let tls = self.tls.connect(self.name.clone(), tcp).await;
        tls.map_err(|source| ConnectError::Tls(self.address.clone(), source))
    }

    async fn dial_tcp(&self) -> Result<TcpStream, ConnectError> {
        let Address { host, port } = &self.address;
        let resolve = |source| ConnectError::Resolve(self.address.clone(), source);
        let addresses: Vec<SocketAddr> =
            lookup_host((host.as_str(), *port)).await.map_err(resolve)?.collect();
        if addresses.is_empty() {
            return Err(resolve(io::ErrorKind::NotFound.into()));
        }
        let refused = |source| ConnectError::Tcp(self.address.clone(), source);
        let stream = dial(addresses).await.map_err(refused)?;
        // Small requests answer small requests: never wait to fill a segment.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(address = %self.address, %error, "TCP_NODELAY refused");
        }
        Ok(stream)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse() {
            Ok(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
