//! A bundle as the text that a file or an object holds. Knows no places.

use crate::{
    server::config::{BundleForm, BundleFormat},
    spiffe::{
        Bundle,
        bundle_doc::{self, DocumentError},
    },
    x509::pem,
};

/// The bundle in that form.
///
/// # Errors
/// When an authority of it cannot be written.
pub(super) fn text(bundle: &Bundle, form: BundleForm) -> Result<String, DocumentError> {
    match form.format {
        BundleFormat::Spiffe => {
            let hint = form.refresh_hint.map_or_else(
                || bundle.refresh_hint_secs(),
                |hint| i64::try_from(hint.as_secs()).unwrap_or(i64::MAX),
            );
            bundle_doc::write_with(bundle, hint)
        }
        BundleFormat::Jwks => bundle_doc::write_jwks(bundle),
        BundleFormat::Pem => {
            let mut text = Vec::new();
            for authority in bundle.x509_authorities() {
                pem::push_certificate(&mut text, &authority.certificate);
            }
            Ok(String::from_utf8_lossy(&text).into_owned())
        }
    }
}
