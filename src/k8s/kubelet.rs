//! Asks the node's kubelet for its pods.
//!
//! The kubelet is known by its certificate before it is told anything: whoever binds its port while it is
//! down gets no token. Certificates, key and token are read anew for each request, so that what
//! rotates is never stale. One request, one connection; bounded in time and size.

use super::{
    pods::PodList,
    tls::{self, Authentication, TlsError, Verification},
};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How a kubelet is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kubelet {
    /// In the clear, on this port of the own host.
    ReadOnly {
        /// The port, usually 10255.
        port: u16,
    },
    /// By HTTPS.
    Secure {
        /// The port, usually 10250.
        port: u16,
        /// The node's name; without it the own host is asked, and any name in its certificate will do.
        node_name: Option<String>,
        /// What its certificate must be.
        verification: Verification,
        /// How the agent says who it is.
        authentication: Authentication,
    },
}

/// Why the kubelet's pods are not known.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KubeletError {
    /// Nobody there.
    #[error("cannot connect to the kubelet at {address}")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The other end is not the kubelet, or the own files are of no use.
    #[error("no TLS with the kubelet at {address}")]
    Tls {
        /// Where.
        address: String,
        /// Why.
        source: Arc<TlsError>,
    },
    /// The token cannot be read, or not be sent.
    #[error("cannot use the token in {}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The connection broke.
    #[error("the kubelet at {address} broke off")]
    Http {
        /// Where.
        address: String,
        /// Why.
        source: Arc<hyper::Error>,
    },
    /// It refuses or fails.
    #[error("the kubelet answers {status}, expected 200 OK{}: {said:?}", hint(*status))]
    Status {
        /// What.
        status: StatusCode,
        /// The beginning of what it says about it.
        said: String,
    },
    /// The list is larger than any node's.
    #[error("the kubelet's pod list has more than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    /// The list is none.
    #[error("the kubelet's answer is no pod list")]
    Malformed(#[source] Arc<serde_json::Error>),
    /// It takes too long.
    #[error("the kubelet has not answered within {} s", WITHIN.as_secs())]
    Timeout,
}

/// SPIRE's limit for one request.
const WITHIN: Duration = Duration::from_secs(10);
/// 500 pods of an Istio mesh are 7 MB; more than this is an attack on the agent's memory.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// How much of a refusal is told.
const MAX_SAID_BYTES: usize = 256;

const fn hint(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => " (is this service account's token valid in this cluster?)",
        403 => {
            " (the service account needs `get` on `nodes/pods`, before Kubernetes 1.33 on `nodes/proxy`)"
        }
        _ => "",
    }
}

impl Kubelet {
    /// The pods of the node now. Dropping the future is safe.
    ///
    /// # Errors
    /// When the kubelet cannot be reached, is not the one that was expected, refuses, or takes too long.
    pub async fn pods(&self) -> Result<PodList, KubeletError> {
        let list = tokio::time::timeout(WITHIN, self.fetch()).await;
        let list = list.map_err(|_| KubeletError::Timeout)??;
        PodList::parse(&list).map_err(|error| KubeletError::Malformed(Arc::new(error)))
    }

    async fn fetch(&self) -> Result<Bytes, KubeletError> {
        match self {
            Self::ReadOnly { port } => {
                let address = Address { host: None, port: *port };
                exchange(address.connect().await?, &address, None).await
            }
            Self::Secure { port, node_name, verification, authentication } => {
                let name = node_name.as_deref();
                let at = |host| Address { host, port: *port };
                let config = tls::config(verification, authentication, name);
                let config = Arc::new(config.map_err(|error| at(name).no_tls(error))?);
                // In the node's own network the kubelet is next door, and no resolver need be waited
                // for; elsewhere nobody listens there. Whoever does proves to be the node's kubelet.
                let mut opened = at(None).open(&config, name).await;
                if opened.is_err() && name.is_some() {
                    opened = at(name).open(&config, name).await;
                }
                let (stream, address) = opened?;
                // Read only now: nobody but the kubelet is given it.
                let token = match authentication {
                    Authentication::Token(path) => Some(bearer(path)?),
                    Authentication::Certificate { .. } | Authentication::Anonymous => None,
                };
                exchange(stream, &address, token).await
            }
        }
    }
}

/// Where a kubelet listens.
#[derive(Clone, Copy)]
struct Address<'a> {
    /// The node's name; the own host without it.
    host: Option<&'a str>,
    port: u16,
}

impl Address<'_> {
    async fn connect(self) -> Result<TcpStream, KubeletError> {
        let connected = TcpStream::connect((self.host(), self.port)).await;
        connected.map_err(|error| KubeletError::Connect {
            address: self.to_string(),
            source: Arc::new(error),
        })
    }

    /// Connects and has the other end prove that it is the kubelet of the node called `name`.
    async fn open(
        self,
        config: &Arc<ClientConfig>,
        name: Option<&str>,
    ) -> Result<(TlsStream<TcpStream>, Self), KubeletError> {
        let name = name.unwrap_or(self.host()).to_owned();
        let server = ServerName::try_from(name.clone());
        let server = server.map_err(|_| self.no_tls(TlsError::NodeName(name)))?;
        let stream = self.connect().await?;
        let stream = TlsConnector::from(Arc::clone(config)).connect(server, stream).await;
        Ok((stream.map_err(|error| self.no_tls(TlsError::Handshake(error)))?, self))
    }

    fn host(&self) -> &str {
        self.host.unwrap_or("127.0.0.1")
    }

    fn no_tls(self, error: TlsError) -> KubeletError {
        KubeletError::Tls { address: self.to_string(), source: Arc::new(error) }
    }
}

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host(), self.port)
    }
}

fn bearer(path: &Path) -> Result<HeaderValue, KubeletError> {
    let failed = |source| KubeletError::Token { path: path.to_owned(), source: Arc::new(source) };
    let token = std::fs::read_to_string(path).map_err(failed)?;
    let token = token.trim();
    if token.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "the file is empty")));
    }
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value = value.map_err(|error| failed(io::Error::other(error)))?;
    value.set_sensitive(true);
    Ok(value)
}

/// One request on a fresh connection, and the whole of its answer.
async fn exchange<S>(
    stream: S,
    address: &Address<'_>,
    token: Option<HeaderValue>,
) -> Result<Bytes, KubeletError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let broke =
        |source| KubeletError::Http { address: address.to_string(), source: Arc::new(source) };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
    let mut request = Request::get("/pods")
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .unwrap_or_default();
    request.headers_mut().extend(token.map(|token| (header::AUTHORIZATION, token)));
    let answer = async {
        let answer = sender.send_request(request).await.map_err(broke)?;
        let status = answer.status();
        let limit = if status == StatusCode::OK { MAX_BODY_BYTES } else { MAX_SAID_BYTES };
        let body = Limited::new(answer.into_body(), limit).collect().await;
        match (status, body) {
            (StatusCode::OK, Ok(body)) => Ok(body.to_bytes()),
            (StatusCode::OK, Err(error)) if error.is::<LengthLimitError>() => {
                Err(KubeletError::TooLarge)
            }
            (StatusCode::OK, Err(error)) => Err(match error.downcast::<hyper::Error>() {
                Ok(error) => broke(*error),
                Err(_) => KubeletError::TooLarge,
            }),
            (status, body) => {
                let said = body.map(|body| body.to_bytes()).unwrap_or_default();
                let said = String::from_utf8_lossy(&said).trim().to_owned();
                Err(KubeletError::Status { status, said })
            }
        }
    };
    // The connection runs as long as its one request does.
    tokio::select! {
        biased;
        answer = answer => answer,
        Err(error) = connection => Err(broke(error)),
    }
}

#[cfg(test)]
mod tests;
