//! Asks an Envoy's admin interface, one short connection per question.

use crate::runtime::TaskSet;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header::HOST};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::net::UnixStream;

/// The admin interface of one Envoy.
#[derive(Clone, Debug)]
pub struct Admin {
    socket: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The socket does not answer: Envoy has not opened it yet, or has ended.
    #[error("cannot connect to the admin socket")]
    Connect(#[from] io::Error),
    /// HTTP broke.
    #[error("the admin connection ended")]
    Http(#[from] hyper::Error),
    /// The question makes no request.
    #[error("{0:?} is no path of the admin interface")]
    Path(String),
    /// Too slow.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Slow,
    /// Answered with an error.
    #[error("{path} answered {status}")]
    Status {
        /// What was asked.
        path: String,
        /// The answer.
        status: StatusCode,
    },
    /// Not the JSON that Envoy documents.
    #[error("{path} answered other JSON than expected")]
    Json {
        /// What was asked.
        path: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Envoy answers from its main thread in milliseconds; one that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(5);

impl Admin {
    /// The interface that listens, or will listen, at `socket`.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether Envoy has everything it needs and accepts requests. Dropping it is safe.
    pub async fn is_ready(&self) -> bool {
        self.get("/ready").await.is_ok()
    }

    /// The answer to GET `path`. Dropping it is safe.
    ///
    /// # Errors
    /// When there is none, or its status is not 200.
    pub async fn get(&self, path: &str) -> Result<Bytes, AdminError> {
        tokio::time::timeout(PATIENCE, self.ask(Method::GET, path))
            .await
            .map_err(|_elapsed| AdminError::Slow)?
    }

    /// The answer to GET `path`, read from JSON. Dropping it is safe.
    ///
    /// # Errors
    /// When there is none, or it is no such JSON.
    pub async fn get_json<T>(&self, path: &str) -> Result<T, AdminError>
    where
        T: serde::de::DeserializeOwned,
    {
        let answer = self.get(path).await?;
        serde_json::from_slice(&answer)
            .map_err(|source| AdminError::Json { path: path.to_owned(), source })
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Bytes, AdminError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "envoy")
            .body(Empty::<Bytes>::new())
            .map_err(|_| AdminError::Path(path.to_owned()))?;
        let socket = TokioIo::new(UnixStream::connect(&self.socket).await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(socket).await?;
        // The connection ends by itself with the sender; what ends it otherwise, the request sees.
        TaskSet::new().spawn("admin connection", async move { drop(connection.await) });
        let response = sender.send_request(request).await?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        if status != StatusCode::OK {
            return Err(AdminError::Status { path: path.to_owned(), status });
        }
        Ok(answer)
    }
}
