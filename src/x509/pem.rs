//! PEM (RFC 7468): certificates and keys as the text that Envoy, SPIRE's files and people use.

use super::{Certificate, SecretKey, cert::CertificateError};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use zeroize::Zeroizing;

/// PEM text that does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// The armour or its base64 is broken.
    #[error("malformed PEM: {0}")]
    Malformed(rustls_pki_types::pem::Error),
    /// A certificate block holds no certificate.
    #[error("certificate number {number} in the PEM text is invalid")]
    Certificate {
        /// Which one, counted from 1.
        number: usize,
        /// What is wrong with it.
        source: CertificateError,
    },
    /// No certificate block was found.
    #[error("no CERTIFICATE block found, expected at least one")]
    NoCertificate,
    /// No PKCS#8 block was found.
    #[error("no PRIVATE KEY block found, expected unencrypted PKCS#8")]
    NoKey,
}

/// Appends `certificate` to `text` as a CERTIFICATE block.
pub fn push_certificate(text: &mut Vec<u8>, certificate: &Certificate) {
    push_block(text, "CERTIFICATE", certificate.der());
}

/// The certificates as consecutive CERTIFICATE blocks.
#[must_use]
pub fn certificates(certificates: &[Certificate]) -> Vec<u8> {
    // A line has a third more columns than bytes, and its end; 80 for head and foot.
    let room = certificates.iter().map(|certificate| certificate.der().len() * 3 / 2 + 80).sum();
    let mut text = Vec::with_capacity(room);
    for certificate in certificates {
        push_certificate(&mut text, certificate);
    }
    text
}

/// The key as a PRIVATE KEY block (PKCS#8). Never log it.
#[must_use]
pub fn secret_key(key: &SecretKey) -> Zeroizing<Vec<u8>> {
    // Exact room at once, so that growing leaves no unwiped copy of the key behind.
    let mut text = Zeroizing::new(Vec::with_capacity(key.pkcs8_der().len() * 2 + 80));
    push_block(&mut text, "PRIVATE KEY", key.pkcs8_der());
    text
}

/// Reads every CERTIFICATE block; other blocks and text in between are skipped.
///
/// # Errors
/// When there is none, or the text or one of them is malformed.
pub fn read_certificates(text: &[u8]) -> Result<Vec<Certificate>, PemError> {
    let mut found = Vec::new();
    for (index, block) in CertificateDer::pem_slice_iter(text).enumerate() {
        let der = block.map_err(PemError::Malformed)?;
        let certificate = Certificate::parse(der.as_ref().to_vec().into())
            .map_err(|source| PemError::Certificate { number: index + 1, source })?;
        found.push(certificate);
    }
    if found.is_empty() { Err(PemError::NoCertificate) } else { Ok(found) }
}

/// Reads the first PRIVATE KEY block.
///
/// # Errors
/// When there is none or it is malformed.
pub fn read_secret_key(text: &[u8]) -> Result<SecretKey, PemError> {
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(PrivateKeyDer::Pkcs8(der)) => Ok(SecretKey::from_pkcs8(der.secret_pkcs8_der().to_vec())),
        Ok(_) | Err(rustls_pki_types::pem::Error::NoItemsFound) => Err(PemError::NoKey),
        Err(error) => Err(PemError::Malformed(error)),
    }
}

/// Whether the text holds a private key of any form: such a file was meant for somebody else's eyes.
#[must_use]
pub fn has_private_key(text: &[u8]) -> bool {
    PrivateKeyDer::from_pem_slice(text).is_ok()
}

/// RFC 7468 §2, and byte for byte what Go writes.
const COLUMNS: usize = 64;

fn push_block(text: &mut Vec<u8>, label: &str, der: &[u8]) {
    text.extend_from_slice(b"-----BEGIN ");
    text.extend_from_slice(label.as_bytes());
    text.extend_from_slice(b"-----\n");
    push_lines(text, der);
    text.extend_from_slice(b"-----END ");
    text.extend_from_slice(label.as_bytes());
    text.extend_from_slice(b"-----\n");
}

/// Appends the base64 of `der` in lines: encoded as one where the last of them end, then moved up line by
/// line, so that no copy of a key is left behind.
fn push_lines(text: &mut Vec<u8>, der: &[u8]) {
    let characters = der.len().div_ceil(3) * 4;
    let (start, lines) = (text.len(), characters.div_ceil(COLUMNS));
    let encoded = start + lines;
    text.resize(encoded + characters, b'\n');
    // It has exactly the room that it needs.
    let _written = text.get_mut(encoded..).map(|room| STANDARD.encode_slice(der, room));
    for line in 0..lines {
        let from = encoded + line * COLUMNS;
        let until = text.len().min(from + COLUMNS);
        let to = start + line * (COLUMNS + 1);
        text.copy_within(from..until, to);
        if let Some(end) = text.get_mut(to + (until - from)) {
            *end = b'\n';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_sixty_four_columns_and_only_the_last_is_padded() {
        for (length, lines) in [(0, vec![]), (1, vec![4]), (48, vec![64]), (49, vec![64, 4])] {
            let der = vec![0xFF; length];
            let mut text = Vec::new();
            push_block(&mut text, "X", &der);
            let text = String::from_utf8(text).unwrap();
            let body = text.strip_prefix("-----BEGIN X-----\n").unwrap();
            let body = body.strip_suffix("-----END X-----\n").unwrap();
            assert_eq!(body.lines().map(str::len).collect::<Vec<_>>(), lines, "{length}");
            assert_eq!(STANDARD.decode(body.replace('\n', "")).unwrap(), der);
        }
    }
}
