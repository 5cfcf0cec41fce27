//! The TLS configurations of both sides, on rustls: [`super::verify`] judges the peer, the current SVID
//! is what we show.
//!
//! Both sides: TLS 1.2 or later, ALPN `h2`, full handshakes only. A resumed session would skip the
//! verification and keep an identity that has been replaced, evicted or banned (crates.md §0.3). The
//! SVID and the bundles are read anew in each handshake: a rotation needs no new configuration.

use super::{
    handshake::{ClientVerifier, ServerVerifier},
    verify::{PeerError, Trust},
};
use crate::{
    runtime::{Clock, Reader},
    spiffe::X509Svid,
};
use arc_swap::ArcSwapOption;
use rustls::{
    CertificateError, ClientConfig, OtherError, ServerConfig, SignatureScheme,
    client::{ResolvesClientCert, Resumption},
    crypto::aws_lc_rs,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::{fmt, sync::Arc};

pub use super::verify::ServerTrust;

/// HTTP/2, which is all that gRPC speaks.
const ALPN_HTTP2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// A configuration that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MtlsError {
    /// The crypto library offers no protocol version that we accept.
    #[error("the TLS library accepts no protocol version")]
    Versions(#[source] rustls::Error),
}

/// The server's side. A client certificate is asked for but not required: an agent has none before it
/// has attested. One that is given must verify.
///
/// # Errors
/// When the TLS library cannot be set up.
pub fn server_config(
    svid: Reader<Arc<X509Svid>>,
    trust: Trust,
    clock: Clock,
) -> Result<Arc<ServerConfig>, MtlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier =
        ClientVerifier { trust, clock, algorithms: provider.signature_verification_algorithms };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(MtlsError::Versions)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(CurrentSvid::new(svid)));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    Ok(Arc::new(config))
}

/// The server's side of a document that everybody may read: it shows its SVID, asks for none, and speaks
/// HTTP/1.1.
///
/// # Errors
/// When the TLS library cannot be set up.
pub fn public_config(svid: Reader<Arc<X509Svid>>) -> Result<Arc<ServerConfig>, MtlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(MtlsError::Versions)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(CurrentSvid::new(svid)));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    Ok(Arc::new(config))
}

/// The client's side; without an SVID it stays anonymous.
///
/// # Errors
/// When the TLS library cannot be set up.
pub fn client_config(
    server: ServerTrust,
    svid: Option<Reader<Arc<X509Svid>>>,
    clock: Clock,
) -> Result<Arc<ClientConfig>, MtlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier =
        ServerVerifier { server, clock, algorithms: provider.signature_verification_algorithms };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(MtlsError::Versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match svid {
        Some(svid) => builder.with_client_cert_resolver(Arc::new(CurrentSvid::new(svid))),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    Ok(Arc::new(config))
}

/// The reason for which our verifier ended a handshake, if that is what `error` reports.
#[must_use]
pub fn peer_error(error: &rustls::Error) -> Option<&PeerError> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) => {
            cause.downcast_ref()
        }
        _ => None,
    }
}

/// The SVID to show, as rustls wants it. The converted form is kept until the SVID changes.
struct CurrentSvid {
    svid: Reader<Arc<X509Svid>>,
    converted: ArcSwapOption<(Arc<X509Svid>, Arc<CertifiedKey>)>,
}

impl CurrentSvid {
    const fn new(svid: Reader<Arc<X509Svid>>) -> Self {
        Self { svid, converted: ArcSwapOption::const_empty() }
    }

    fn certified_key(&self) -> Option<Arc<CertifiedKey>> {
        let svid = self.svid.current();
        if let Some(converted) = self.converted.load().as_ref()
            && Arc::ptr_eq(&converted.0, &svid)
        {
            return Some(Arc::clone(&converted.1));
        }
        match convert(&svid) {
            Ok(key) => {
                self.converted.store(Some(Arc::new((svid, Arc::clone(&key)))));
                Some(key)
            }
            Err(error) => {
                tracing::error!(id = %svid.id(), %error, "the TLS library refuses our own SVID");
                None
            }
        }
    }
}

fn convert(svid: &X509Svid) -> Result<Arc<CertifiedKey>, rustls::Error> {
    let chain = svid.chain().iter().map(|c| CertificateDer::from(c.der().to_vec())).collect();
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(svid.key().pkcs8_der()));
    let key = aws_lc_rs::sign::any_supported_type(&der)?;
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

impl fmt::Debug for CurrentSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CurrentSvid")
    }
}

impl ResolvesServerCert for CurrentSvid {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certified_key()
    }
}

impl ResolvesClientCert for CurrentSvid {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.certified_key()
    }

    fn has_certs(&self) -> bool {
        true
    }
}
