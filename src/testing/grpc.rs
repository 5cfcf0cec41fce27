//! gRPC over one HTTP/2 connection on a Unix socket, frame by frame: a caller decides when to send
//! and when to read, which generated clients do for it. Knows nothing of the messages' meaning.

use crate::runtime::{Shutdown, TaskSet};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::{
    RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Method, Request, Version, header::CONTENT_TYPE};
use prost::Message;
use std::{fmt, io, marker::PhantomData, path::Path, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::Instant,
};

/// Why there is no next message.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The socket does not answer.
    #[error("cannot connect to the socket")]
    Connect(#[from] io::Error),
    /// HTTP/2 broke: the connection or the stream was reset, or the peer went away.
    #[error("the HTTP/2 stream ended")]
    Http2(#[from] h2::Error),
    /// The server ended the call with this status, `OK` included.
    #[error("the call ended: {0}")]
    Ended(Box<tonic::Status>),
    /// The answer was not gRPC.
    #[error("HTTP status {0}, expected 200 with gRPC trailers")]
    NotGrpc(u16),
    /// A message that cannot be decoded.
    #[error("malformed message")]
    Decode(#[from] prost::DecodeError),
    /// Nothing came, and the call did not end either.
    #[error("no answer from {method} within {PATIENCE:?}{}", About(names))]
    Overdue {
        /// The method that was called.
        method: &'static str,
        /// What it was asked for, as far as that is known.
        names: Vec<String>,
    },
}

struct About<'a>(&'a [String]);

impl fmt::Display for About<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ", asked for {:?}", self.0) }
    }
}

impl CallError {
    /// The status that the server ended the call with, if it did.
    #[must_use]
    pub fn code(&self) -> Option<tonic::Code> {
        match self {
            Self::Ended(status) => Some(status.code()),
            _ => None,
        }
    }

    /// The same error of a call that asked for `asked`.
    pub(super) fn of_call_for(mut self, asked: &[String]) -> Self {
        if let Self::Overdue { names, .. } = &mut self {
            *names = asked.to_vec();
        }
        self
    }
}

/// An HTTP/2 connection. Dropping it and every call on it closes the socket.
#[derive(Debug)]
pub struct Connection {
    requests: SendRequest<Bytes>,
    authority: String,
    hang_up: Shutdown,
}

/// One call: messages out by [`Call::send`], messages in by [`Call::next`], in any order.
#[derive(Debug)]
pub struct Call<M> {
    method: &'static str,
    outgoing: SendStream<Bytes>,
    response: Option<ResponseFuture>,
    body: Option<RecvStream>,
    received: BytesMut,
    message: PhantomData<fn() -> M>,
}

/// Longer than any answer takes on a busy machine: what is not here by then never comes, and a test
/// that waited on would hang with it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What an Envoy with Istio's cluster name sends as `:authority`.
const AUTHORITY: &str = "sds-grpc";

impl Connection {
    /// Connects and starts HTTP/2 without waiting for the server's SETTINGS.
    ///
    /// # Errors
    /// When nobody accepts at `path`; `WouldBlock` when its accept queue is full.
    pub async fn open(path: &Path) -> Result<Self, CallError> {
        Self::over(UnixStream::connect(path).await?).await
    }

    /// Starts HTTP/2 on a connected socket.
    ///
    /// # Errors
    /// When the peer is gone already.
    pub async fn over(socket: UnixStream) -> Result<Self, CallError> {
        let (requests, connection) = h2::client::handshake(socket).await?;
        let hang_up = Shutdown::new();
        let hung_up = hang_up.clone();
        TaskSet::new().spawn("test client connection", async move {
            tokio::select! {
                biased;
                () = hung_up.requested() => {}
                // Calls see the error themselves.
                _ended = connection => {}
            }
        });
        Ok(Self { requests, authority: AUTHORITY.to_owned(), hang_up })
    }

    /// The same connection with another `:authority` in the calls to come.
    #[must_use]
    pub fn with_authority(mut self, authority: &str) -> Self {
        authority.clone_into(&mut self.authority);
        self
    }

    /// Opens a call of `method`, such as `/package.Service/Method`. Nothing is sent but headers.
    ///
    /// # Errors
    /// When the connection has ended, or the server refuses another stream.
    pub async fn call<M: Message + Default>(
        &self,
        method: &'static str,
    ) -> Result<Call<M>, CallError> {
        let request = Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            .uri(format!("http://{}{method}", self.authority))
            .header(CONTENT_TYPE, "application/grpc")
            .header("te", "trailers")
            // The Workload API insists on it; others ignore it.
            .header("workload.spiffe.io", "true")
            .body(())
            .map_err(|_| CallError::NotGrpc(0))?;
        let mut requests = self.requests.clone().ready().await?;
        let (response, outgoing) = requests.send_request(request, false)?;
        Ok(Call {
            method,
            outgoing,
            response: Some(response),
            body: None,
            received: BytesMut::new(),
            message: PhantomData,
        })
    }

    /// Closes the socket at once, as a killed process does: no GOAWAY, no end of any stream.
    pub fn hang_up(&self) {
        self.hang_up.request();
    }
}

impl<M: Message + Default> Call<M> {
    /// Sends one message.
    ///
    /// # Errors
    /// When the stream has ended.
    pub fn send(&mut self, message: &impl Message) -> Result<(), CallError> {
        self.send_encoded(&message.encode_to_vec())
    }

    /// Sends one message that is encoded already, or is meant to be broken.
    ///
    /// # Errors
    /// When the stream has ended.
    pub fn send_encoded(&mut self, message: &[u8]) -> Result<(), CallError> {
        let mut frame = BytesMut::with_capacity(PREFIX + message.len());
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        frame.extend_from_slice(message);
        self.send_raw(frame.freeze())
    }

    /// Sends bytes as they are, without gRPC's length prefix.
    ///
    /// # Errors
    /// When the stream has ended.
    pub fn send_raw(&mut self, bytes: Bytes) -> Result<(), CallError> {
        Ok(self.outgoing.send_data(bytes, false)?)
    }

    /// Says that no message will follow.
    ///
    /// # Errors
    /// When the stream has ended.
    pub fn finish(&mut self) -> Result<(), CallError> {
        Ok(self.outgoing.send_data(Bytes::new(), true)?)
    }

    /// Ends this stream alone, as a client that lost interest does.
    pub fn cancel(&mut self) {
        self.outgoing.send_reset(h2::Reason::CANCEL);
    }

    /// The next message. Dropping it is safe: what has arrived is kept for the next call.
    ///
    /// # Errors
    /// When none can come any more: [`CallError::Ended`] with the server's status; when none has come
    /// within [`PATIENCE`].
    pub async fn next(&mut self) -> Result<M, CallError> {
        let (method, names) = (self.method, Vec::new());
        let next = tokio::time::timeout(PATIENCE, self.wait()).await;
        next.unwrap_or(Err(CallError::Overdue { method, names }))
    }

    /// The next message, however long it takes. Dropping it is safe, as with [`Call::next`].
    ///
    /// # Errors
    /// When none can come any more.
    pub async fn wait(&mut self) -> Result<M, CallError> {
        loop {
            if let Some(message) = self.take_message()? {
                return Ok(message);
            }
            self.receive().await?;
        }
    }

    fn take_message(&mut self) -> Result<Option<M>, CallError> {
        let Some(length) = self.received.get(1..PREFIX) else { return Ok(None) };
        let length = length.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        if self.received.len() < PREFIX + length {
            return Ok(None);
        }
        self.received.advance(PREFIX);
        Ok(Some(M::decode(self.received.split_to(length).freeze())?))
    }

    async fn receive(&mut self) -> Result<(), CallError> {
        if let Some(response) = self.response.as_mut() {
            let response = response.await?;
            self.response = None;
            if response.status() != http::StatusCode::OK {
                return Err(CallError::NotGrpc(response.status().as_u16()));
            }
            if let Some(status) = tonic::Status::from_header_map(response.headers()) {
                return Err(CallError::Ended(Box::new(status)));
            }
            self.body = Some(response.into_body());
        }
        let Some(body) = self.body.as_mut() else { return Err(no_status()) };
        let Some(data) = body.data().await else {
            let trailers: Option<HeaderMap> = body.trailers().await?;
            let status = trailers.as_ref().and_then(tonic::Status::from_header_map);
            return Err(status.map_or_else(no_status, |status| CallError::Ended(Box::new(status))));
        };
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        self.received.extend_from_slice(&data);
        Ok(())
    }
}

/// One byte of flags and four of length (gRPC over HTTP/2).
const PREFIX: usize = 5;

fn no_status() -> CallError {
    CallError::Ended(Box::new(tonic::Status::unknown("the stream ended without a gRPC status")))
}

/// How long the server at `path` takes from connect to its SETTINGS, which is what Istio's proxy
/// checks within a second before it uses the socket at all.
///
/// # Errors
/// When nobody accepts, or the first frame is not SETTINGS.
pub async fn settings_latency(path: &Path) -> io::Result<Duration> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    const SETTINGS: u8 = 4;
    let started = Instant::now();
    let mut socket = UnixStream::connect(path).await?;
    socket.write_all(PREFACE).await?;
    // A frame starts with its length (3 bytes) and its type (RFC 9113 §4.1).
    let mut head = [0_u8; 9];
    socket.read_exact(&mut head).await?;
    match head {
        [_, _, _, SETTINGS, ..] => Ok(started.elapsed()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the first frame is not SETTINGS")),
    }
}
