//! Connections in memory to the server under test: refused, verified and cut as real ones would be.

use super::{
    services,
    state::{Asked, SpireServer},
};
use crate::{
    agent::upstream::{Credentials, Upstream},
    spiffe::X509Svid,
    transport::{
        channel::{Address, ConnectError},
        mtls::ServerTrust,
        verify::Role,
    },
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use std::{io, sync::Arc, time::Duration};
use tokio::io::{DuplexStream, copy_bidirectional, duplex};
use tonic::transport::{Endpoint, Server};

/// Room on the way, in each direction.
const BUFFER_BYTES: usize = 1024 * 1024;

impl SpireServer {
    /// The way to it.
    #[must_use]
    pub fn upstream(&self) -> Upstream {
        let server = self.clone();
        Upstream::through(move |trust, credentials| {
            let server = server.clone();
            Box::pin(async move {
                // The endpoint hides the connector's own error: it is asked first.
                let first = Mutex::new(Some(server.dial(&trust, &credentials)?));
                let connector = tower::service_fn(move |_: http::Uri| {
                    let again = || server.dial(&trust, &credentials);
                    let dialed = first.lock().take().map_or_else(again, Ok);
                    async move { dialed.map(TokioIo::new) }
                });
                let endpoint = Endpoint::from_static("http://server");
                endpoint.connect_with_connector(connector).await.map_err(ConnectError::Http2)
            })
        })
    }

    fn dial(
        &self,
        trust: &ServerTrust,
        credentials: &Credentials,
    ) -> Result<DuplexStream, ConnectError> {
        let address = Address { host: "server".to_owned(), port: 8081 };
        if !self.set(|server| server.is_reachable) {
            return Err(ConnectError::Tcp(address, io::ErrorKind::ConnectionRefused.into()));
        }
        self.verify_as(trust).map_err(|error| ConnectError::Tls(address, error))?;
        self.note(Asked::Connect(match credentials {
            Credentials::Anonymous => None,
            Credentials::Svid(svid) => Some(serial(svid)),
        }));
        Ok(self.connect())
    }

    /// What the agent's verifier says to our certificate, in the form that rustls gives it.
    fn verify_as(&self, trust: &ServerTrust) -> io::Result<()> {
        let ServerTrust::Verified { expected, trust } = trust else { return Ok(()) };
        let svid = self.ca().svid(expected, Duration::from_secs(86_000));
        let leaf = CertificateDer::from(svid.chain()[0].der().to_vec());
        match trust.verify(Role::Server, &leaf, &[], self.0.clock.now()) {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = rustls::CertificateError::Other(rustls::OtherError(Arc::new(error)));
                Err(io::Error::other(rustls::Error::InvalidCertificate(error)))
            }
        }
    }

    /// Serves one end of a connection and gives the other.
    fn connect(&self) -> DuplexStream {
        let (agent, mut wire) = duplex(BUFFER_BYTES);
        let (mut far, served) = duplex(BUFFER_BYTES);
        let hang_up = self.0.hang_up.lock().clone();
        self.0.tasks.spawn("wire", async move {
            tokio::select! {
                () = hang_up.requested() => {}
                _ = copy_bidirectional(&mut wire, &mut far) => {}
            }
        });
        let router = services::add_all(Server::builder(), self);
        self.0.tasks.spawn("connection", async move {
            let once = tokio_stream::once(Ok::<_, io::Error>(served));
            router.serve_with_incoming(once).await.unwrap();
        });
        agent
    }
}

fn serial(svid: &X509Svid) -> String {
    svid.chain()[0].serial().to_string()
}
