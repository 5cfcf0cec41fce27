//! SHA-256 as text.

use aws_lc_rs::digest::{Digest, SHA256, digest};
use std::fmt::Write as _;

/// The SHA-256 of `bytes` in lower-case hexadecimal.
#[must_use]
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&digest(&SHA256, bytes))
}

/// A finished digest in lower-case hexadecimal.
#[must_use]
pub(super) fn hex(digest: &Digest) -> String {
    digest.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
