//! The bundle that an operator gives to an agent which has never met its server.
//!
//! Reads and judges the file; whether it is needed is decided in [`super::trust`]. Blocks.

use crate::{
    agent::{config::BundleFormat, digest},
    spiffe::{Bundle, TrustDomain, bundle_doc, bundle_doc::DocumentError},
    x509::{pem, pem::PemError},
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// What the file said.
#[derive(Clone, Debug)]
pub struct BootstrapBundle {
    /// The authorities in it.
    pub bundle: Bundle,
    /// The SHA-256 of the file, by which one content is told from the next.
    pub digest: String,
}

/// A file that no server can be known by.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// It cannot be read.
    #[error("cannot read trust bundle {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Larger than any bundle.
    #[error("trust bundle {} has {bytes} bytes, expected at most {MAX_BYTES}", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// Somebody has put a private key where every agent reads it.
    #[error(
        "trust bundle {} contains a private key: remove it from there, and treat it as disclosed",
        path.display()
    )]
    PrivateKey {
        /// Which file.
        path: PathBuf,
    },
    /// Not PEM certificates.
    #[error("trust bundle {} (trust_bundle_format \"pem\")", path.display())]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: PemError,
    },
    /// Not a SPIFFE bundle document.
    #[error("trust bundle {} (trust_bundle_format \"spiffe\")", path.display())]
    Document {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: DocumentError,
    },
    /// A document without authorities.
    #[error("trust bundle {} has no X.509 authority", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// Authorities that can verify nobody any more.
    #[error(
        "trust bundle {}: all {authorities} of its authorities have expired: put the server's \
         present bundle there",
        path.display()
    )]
    Expired {
        /// Which file.
        path: PathBuf,
        /// How many there are.
        authorities: usize,
    },
}

/// 4 MiB, as for any bundle (BN-9).
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Reads the file at `path`, which holds the authorities of `trust_domain`, at `now`.
///
/// # Errors
/// When it cannot be read or is not such a file.
pub fn read(
    path: &Path,
    format: BundleFormat,
    trust_domain: &TrustDomain,
    now: SystemTime,
) -> Result<BootstrapBundle, BootstrapError> {
    let owned = || path.to_owned();
    let unreadable = |source| BootstrapError::Read { path: owned(), source };
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    if bytes > MAX_BYTES {
        return Err(BootstrapError::TooLarge { path: owned(), bytes });
    }
    let content = fs::read(path).map_err(unreadable)?;
    if pem::has_private_key(&content) {
        return Err(BootstrapError::PrivateKey { path: owned() });
    }
    let bundle = match format {
        BundleFormat::Pem => {
            let certificates = pem::read_certificates(&content)
                .map_err(|source| BootstrapError::Pem { path: owned(), source })?;
            Bundle::from_certificates(trust_domain.clone(), certificates)
        }
        BundleFormat::Spiffe => bundle_doc::read(trust_domain.clone(), &content)
            .map_err(|source| BootstrapError::Document { path: owned(), source })?,
    };
    let authorities = bundle.x509_authorities();
    if authorities.is_empty() {
        return Err(BootstrapError::Empty { path: owned() });
    }
    if authorities.iter().all(|authority| authority.certificate.not_after() < now) {
        let authorities = authorities.len();
        return Err(BootstrapError::Expired { path: owned(), authorities });
    }
    Ok(BootstrapBundle { bundle, digest: digest::sha256_hex(&content) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::ca::TestCa,
        x509::{Certificate, KeyPair, KeyType},
    };
    use std::time::Duration;

    fn read_text(text: &[u8], format: BundleFormat) -> Result<BootstrapBundle, BootstrapError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bundle");
        fs::write(&path, text).unwrap();
        read(&path, format, &TrustDomain::parse("example.org").unwrap(), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn both_formats_give_the_same_authorities() {
        let ca = TestCa::new("example.org", SystemTime::UNIX_EPOCH);
        let bundle = ca.bundle(3, &[]);
        let as_pem = pem::certificates(&[ca.authority().certificate().clone()]);
        let document = bundle_doc::write(&bundle).unwrap();
        let from_pem = read_text(&as_pem, BundleFormat::Pem).unwrap();
        let from_document = read_text(document.as_bytes(), BundleFormat::Spiffe).unwrap();
        assert!(from_pem.bundle.has_same_content(&bundle));
        assert!(from_document.bundle.has_same_content(&bundle));
        assert_ne!(from_pem.digest, from_document.digest);
    }

    #[test]
    fn a_private_key_in_the_file_is_refused_by_name() {
        let ca = TestCa::new("example.org", SystemTime::UNIX_EPOCH);
        let mut text = pem::certificates(&[ca.authority().certificate().clone()]);
        let key = KeyPair::generate(KeyType::EcP256).unwrap();
        text.extend_from_slice(&pem::secret_key(&key.secret_key().unwrap()));
        let error = read_text(&text, BundleFormat::Pem).unwrap_err();
        assert!(matches!(error, BootstrapError::PrivateKey { .. }));
        assert!(error.to_string().contains("contains a private key"), "{error}");
    }

    #[test]
    fn a_file_whose_authorities_have_all_expired_is_refused() {
        let old = TestCa::new("example.org", SystemTime::UNIX_EPOCH);
        let old = old.authority().certificate().clone();
        let now = old.not_after() + Duration::from_secs(1);
        let new = TestCa::new("example.org", now).authority().certificate().clone();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bundle");
        let read_at = |certificates: &[Certificate], now| {
            fs::write(&path, pem::certificates(certificates)).unwrap();
            read(&path, BundleFormat::Pem, &TrustDomain::parse("example.org").unwrap(), now)
        };
        assert!(read_at(std::slice::from_ref(&old), old.not_after()).is_ok());
        let error = read_at(std::slice::from_ref(&old), now).unwrap_err();
        assert!(error.to_string().contains("all 1 of its authorities have expired"), "{error}");
        assert!(read_at(&[old, new], now).is_ok(), "one that verifies is enough");
    }

    #[test]
    fn a_file_of_the_wrong_kind_or_without_authorities_is_refused() {
        assert!(matches!(
            read_text(b"{\"keys\":[]}", BundleFormat::Pem),
            Err(BootstrapError::Pem { .. })
        ));
        assert!(matches!(
            read_text(b"{\"keys\":[]}", BundleFormat::Spiffe),
            Err(BootstrapError::Empty { .. })
        ));
        assert!(matches!(
            read_text(b"-----BEGIN CERTIFICATE-----", BundleFormat::Spiffe),
            Err(BootstrapError::Document { .. })
        ));
    }
}
