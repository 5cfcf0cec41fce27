//! DER (X.690) as finial writes it: names, keys, times, extensions and signatures of certificates and
//! requests, each as RFC 5280 has it and as Go writes it where that leaves a choice.
//!
//! Knows how things are written, not what shall be written: that is `issue`'s and `csr`'s.

use super::{
    key::{KeyError, KeyPair, KeyType, PublicAlgorithm, PublicKey},
    name::{AttributeKind, Name},
};
use std::time::{SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0C;
const PRINTABLE_STRING: u8 = 0x13;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
const CONSTRUCTED: u8 = 0x20;
const CONTEXT: u8 = 0x80;

/// The `[number]` of a choice or an implicit field that is not made of others.
pub(super) const fn context(number: u8) -> u8 {
    CONTEXT | number
}

/// The `[number]` of a field that is made of others.
pub(super) const fn context_constructed(number: u8) -> u8 {
    CONTEXT | CONSTRUCTED | number
}

/// Appends an element: its tag, its length, and what `fill` appends.
pub(super) fn element(to: &mut Vec<u8>, tag: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    to.push(tag);
    let start = to.len();
    fill(to);
    let length = (to.len() - start).to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let significant = length.get(zeros..).unwrap_or_default();
    match significant {
        [] => to.insert(start, 0),
        [short] if *short < 0x80 => to.insert(start, *short),
        long => {
            // At most eight bytes of length.
            let head = 0x80 | u8::try_from(long.len()).unwrap_or_default();
            to.splice(start..start, std::iter::once(head).chain(long.iter().copied()));
        }
    }
}

/// Appends an element with this content.
pub(super) fn primitive(to: &mut Vec<u8>, tag: u8, content: &[u8]) {
    element(to, tag, |to| to.extend_from_slice(content));
}

/// Appends a non-negative INTEGER of big-endian bytes without leading zeros.
pub(super) fn unsigned(to: &mut Vec<u8>, bytes: &[u8]) {
    element(to, INTEGER, |to| {
        if bytes.first().is_none_or(|first| *first >= 0x80) {
            to.push(0);
        }
        to.extend_from_slice(bytes);
    });
}

/// Appends a Name (RFC 5280 §4.1.2.4): one attribute each, PrintableString where the characters allow,
/// else UTF8String.
pub(super) fn name(to: &mut Vec<u8>, name: &Name) {
    element(to, SEQUENCE, |to| {
        for (kind, value) in name.attributes() {
            let tag = if value.bytes().all(is_printable) { PRINTABLE_STRING } else { UTF8_STRING };
            element(to, SET, |to| {
                element(to, SEQUENCE, |to| {
                    element(to, OBJECT_IDENTIFIER, |to| attribute_type(to, kind));
                    primitive(to, tag, value.as_bytes());
                });
            });
        }
    });
}

fn attribute_type(to: &mut Vec<u8>, kind: &AttributeKind) {
    let number = match kind {
        AttributeKind::CommonName => 3,
        AttributeKind::SerialNumber => 5,
        AttributeKind::Country => 6,
        AttributeKind::Organization => 10,
        AttributeKind::OrganizationalUnit => 11,
        AttributeKind::Other(oid) => return object_identifier(to, oid),
    };
    to.extend_from_slice(&[0x55, 0x04, number]);
}

/// Appends the content of a dotted OID (X.690 §8.19).
fn object_identifier(to: &mut Vec<u8>, dotted: &str) {
    let mut arcs = dotted.split('.').filter_map(|arc| arc.parse::<u64>().ok());
    let first = arcs.next().unwrap_or_default().saturating_mul(40);
    let joined = first.saturating_add(arcs.next().unwrap_or_default());
    for arc in std::iter::once(joined).chain(arcs) {
        let groups = arc.max(1).ilog2() / 7;
        for group in (0..=groups).rev() {
            let bits = u8::try_from((arc >> (7 * group)) & 0x7F).unwrap_or_default();
            to.push(if group == 0 { bits } else { 0x80 | bits });
        }
    }
}

/// X.680 §41.4.
const fn is_printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b' ' | b'\'' | b'(' | b')' | b'+' | b',' | b'-' | b'.' | b'/' | b':' | b'=' | b'?'
        )
}

/// Appends a Time (RFC 5280 §4.1.2.5) in whole seconds: UTCTime through 2049, then GeneralizedTime.
pub(super) fn time(to: &mut Vec<u8>, wall: SystemTime) {
    let secs = wall.duration_since(UNIX_EPOCH).map_or(0, |gap| gap.as_secs());
    let at = i64::try_from(secs)
        .ok()
        .and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    // Never before 1970, never after 9999.
    let year = u32::try_from(at.year()).unwrap_or_default();
    let rest = [u8::from(at.month()), at.day(), at.hour(), at.minute(), at.second()];
    let digits = |to: &mut Vec<u8>, number: u32| {
        for digit in [number / 10 % 10, number % 10] {
            to.push(b'0' + u8::try_from(digit).unwrap_or_default());
        }
    };
    let tag = if year < 2050 { UTC_TIME } else { GENERALIZED_TIME };
    element(to, tag, |to| {
        if tag == GENERALIZED_TIME {
            digits(to, year / 100);
        }
        digits(to, year % 100);
        rest.iter().for_each(|part| digits(to, u32::from(*part)));
        to.push(b'Z');
    });
}

/// Appends a SubjectPublicKeyInfo (RFC 5280 §4.1.2.7; RFC 5480 §2, RFC 3279 §2.3.1).
pub(super) fn public_key(to: &mut Vec<u8>, key: &PublicKey) {
    /// id-ecPublicKey on prime256v1.
    const P256: [u8; 19] = [
        0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE,
        0x3D, 0x03, 0x01, 0x07,
    ];
    /// id-ecPublicKey on secp384r1.
    const P384: [u8; 16] = [
        0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x05, 0x2B, 0x81, 0x04, 0x00,
        0x22,
    ];
    /// rsaEncryption, NULL.
    const RSA: [u8; 13] =
        [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00];
    let algorithm: &[u8] = match key.algorithm() {
        PublicAlgorithm::EcP256 => &P256,
        PublicAlgorithm::EcP384 => &P384,
        PublicAlgorithm::Rsa => &RSA,
    };
    element(to, SEQUENCE, |to| {
        primitive(to, SEQUENCE, algorithm);
        bit_string(to, key.bits());
    });
}

/// Appends the AlgorithmIdentifier of what `signer` signs with (RFC 5758 §3.2, RFC 4055 §5).
pub(super) fn signature_algorithm(to: &mut Vec<u8>, signer: &KeyPair) {
    /// ecdsa-with-SHA256.
    const ECDSA_SHA256: [u8; 10] = [0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02];
    /// ecdsa-with-SHA384.
    const ECDSA_SHA384: [u8; 10] = [0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x03];
    /// sha256WithRSAEncryption, NULL.
    const RSA_SHA256: [u8; 13] =
        [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0B, 0x05, 0x00];
    let algorithm: &[u8] = match signer.key_type() {
        KeyType::EcP256 => &ECDSA_SHA256,
        KeyType::EcP384 => &ECDSA_SHA384,
        KeyType::Rsa2048 | KeyType::Rsa4096 => &RSA_SHA256,
    };
    primitive(to, SEQUENCE, algorithm);
}

/// Appends an Extension (RFC 5280 §4.1) of id-ce `number`.
pub(super) fn extension(to: &mut Vec<u8>, number: u8, content: impl FnOnce(&mut Vec<u8>)) {
    element(to, SEQUENCE, |to| {
        primitive(to, OBJECT_IDENTIFIER, &[0x55, 0x1D, number]);
        element(to, OCTET_STRING, content);
    });
}

/// As [`extension`], one that nobody may ignore.
pub(super) fn critical_extension(to: &mut Vec<u8>, number: u8, content: &[u8]) {
    element(to, SEQUENCE, |to| {
        primitive(to, OBJECT_IDENTIFIER, &[0x55, 0x1D, number]);
        to.extend_from_slice(&[0x01, 0x01, 0xFF]);
        primitive(to, OCTET_STRING, content);
    });
}

/// `content` signed by `signer`: the SEQUENCE of it, the algorithm and the signature that certificates and
/// requests alike are.
///
/// # Errors
/// When the key will not sign.
pub(super) fn signed(content: &[u8], signer: &KeyPair) -> Result<Vec<u8>, KeyError> {
    let signature = signer.sign(content)?;
    let mut whole = Vec::with_capacity(content.len() + signature.len() + 32);
    element(&mut whole, SEQUENCE, |to| {
        to.extend_from_slice(content);
        signature_algorithm(to, signer);
        bit_string(to, &signature);
    });
    Ok(whole)
}

fn bit_string(to: &mut Vec<u8>, bytes: &[u8]) {
    element(to, BIT_STRING, |to| {
        // All bits of the last byte count.
        to.push(0);
        to.extend_from_slice(bytes);
    });
}

#[cfg(test)]
mod tests;
