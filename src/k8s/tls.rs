//! TLS towards a kubelet, made from the files as they are now.

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{self, PemObject as _},
    },
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a kubelet's certificate must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Signed by one of the authorities in this PEM file.
    Authorities(PathBuf),
    /// Anything: whoever answers on the port is believed.
    Skipped,
}

/// How the agent says who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// By the token in this file.
    Token(PathBuf),
    /// By a certificate.
    Certificate {
        /// The PEM file of the chain.
        chain: PathBuf,
        /// The PEM file of the key.
        key: PathBuf,
    },
    /// Not at all.
    Anonymous,
}

/// Why there is no TLS with the kubelet.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of certificates or a key.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// The file has no certificate in it.
    #[error("{} holds no certificate that could verify another", .0.display())]
    NoAuthority(PathBuf),
    /// What was read does not fit together.
    #[error(transparent)]
    Config(#[from] Error),
    /// Nothing that a certificate could be for.
    #[error("the node's name {0:?} is no DNS name and no address")]
    NodeName(String),
    /// The handshake failed; mostly because the certificate is not the kubelet's.
    #[error("the handshake failed")]
    Handshake(#[source] io::Error),
}

/// What the files say now. Without a node's name the chain counts and the name in it does not.
///
/// # Errors
/// When a file cannot be read or holds nothing of use.
pub(super) fn config(
    verification: &Verification,
    authentication: &Authentication,
    node_name: Option<&str>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = verifier(verification, node_name, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match authentication {
        Authentication::Certificate { chain, key } => {
            let failed = |source| TlsError::File { path: key.clone(), source };
            let key = PrivateKeyDer::from_pem_file(key).map_err(failed)?;
            builder.with_client_auth_cert(certificates(chain)?, key)?
        }
        Authentication::Token(_) | Authentication::Anonymous => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn verifier(
    verification: &Verification,
    node_name: Option<&str>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let Verification::Authorities(path) = verification else {
        return Ok(Arc::new(AnyName { chain: None, provider: Arc::clone(provider) }));
    };
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(certificates(path)?);
    if usable == 0 {
        return Err(TlsError::NoAuthority(path.clone()));
    }
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|_| TlsError::NoAuthority(path.clone()))?;
    if node_name.is_some() {
        return Ok(chain);
    }
    Ok(Arc::new(AnyName { chain: Some(chain), provider: Arc::clone(provider) }))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::File { path: path.to_owned(), source };
    let certificates = CertificateDer::pem_file_iter(path).map_err(failed)?;
    certificates.collect::<Result<_, _>>().map_err(failed)
}

/// A kubelet whose name does not count. Whoever it is holds the key of the certificate that it shows.
#[derive(Debug)]
struct AnyName {
    /// Where its chain must lead; nowhere if the operator has said so.
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(leaf, intermediates, name, ocsp, now) {
            // Names are looked at last, when the chain has been verified.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, leaf, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, leaf, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
