//! The certificates that an Envoy really uses. `config_dump` would also show those that it refused
//! (istio-envoy.md §13).

use super::{Admin, AdminError};
use crate::{spiffe::SpiffeId, x509::cert::Serial};
use serde::Deserialize;

/// The serial numbers of the leaves of `id` that `admin`'s Envoy uses: one, or two for the moment
/// in which a listener has taken over a new one and a cluster has not. Dropping it is safe.
///
/// # Errors
/// When Envoy does not answer.
pub async fn in_use(admin: &Admin, id: &SpiffeId) -> Result<Vec<Serial>, AdminError> {
    let answer: Answer = admin.get_json("/certs").await?;
    let leaves = answer.certificates.iter().filter_map(|context| context.cert_chain.first());
    let own =
        leaves.filter(|leaf| leaf.subject_alt_names.iter().any(|name| name.uri == id.as_str()));
    Ok(own.filter_map(|leaf| serial(&leaf.serial_number)).collect())
}

/// A serial number from hexadecimal digits, of which Envoy leaves out leading zeros.
fn serial(hex: &str) -> Option<Serial> {
    let padded = if hex.len().is_multiple_of(2) { hex.to_owned() } else { format!("0{hex}") };
    let digits = padded.as_bytes().chunks(2).map(std::str::from_utf8);
    let bytes = digits.map(|pair| u8::from_str_radix(pair.ok()?, 16).ok());
    Some(Serial::from_bytes(&bytes.collect::<Option<Vec<_>>>()?))
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    certificates: Vec<Context>,
}

#[derive(Deserialize)]
struct Context {
    #[serde(default)]
    cert_chain: Vec<Leaf>,
}

#[derive(Deserialize)]
struct Leaf {
    #[serde(default)]
    serial_number: String,
    #[serde(default)]
    subject_alt_names: Vec<AlternativeName>,
}

#[derive(Deserialize)]
struct AlternativeName {
    #[serde(default)]
    uri: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_are_read_whatever_their_case_and_leading_zeros() {
        let expected = Serial::from_bytes(&[0x0a, 0xbc]);
        for text in ["abc", "0ABC", "000abc"] {
            assert_eq!(serial(text), Some(expected.clone()));
        }
        assert_ne!(serial("a"), serial("a00"));
        assert_eq!(serial("xyz"), None);
    }
}
