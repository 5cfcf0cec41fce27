//! `spire.api.types.X509SVID`: what a server signed, without the key it never sees.

use super::proto::spire::api::types;
use crate::{
    spiffe::SpiffeId,
    x509::{Certificate, cert::CertificateError},
};
use bytes::Bytes;

/// Writes a signed chain, leaf first, of the identity `id`.
#[must_use]
pub fn to_wire(id: &SpiffeId, chain: &[Certificate], hint: &str) -> types::X509svid {
    types::X509svid {
        cert_chain: chain.iter().map(|certificate| certificate.der().clone()).collect(),
        id: Some(id.into()),
        expires_at: chain.first().map_or(0, Certificate::expires_at),
        hint: hint.to_owned(),
    }
}

/// Reads the chain, leaf first. That it fits its key and identity is checked when an
/// [`crate::spiffe::X509Svid`] is made of it.
///
/// # Errors
/// The first certificate that is broken.
pub fn chain(wire: &types::X509svid) -> Result<Vec<Certificate>, CertificateError> {
    // Copied out: a slice would keep the whole message that it came in alive as long as the SVID.
    wire.cert_chain.iter().map(|der| Certificate::parse(Bytes::copy_from_slice(der))).collect()
}
