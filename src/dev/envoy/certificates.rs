//! The certificates that an Envoy really uses. `config_dump` would also show those that it refused
//! (istio-envoy.md §13).

use super::{Admin, AdminError};
use crate::spiffe::SpiffeId;
use serde::Deserialize;

/// The serial number of a certificate as Envoy writes it: hexadecimal without leading zeros.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SerialHex(String);

impl SerialHex {
    /// A serial number from its big-endian bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self::parse(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    /// A serial number as Envoy writes it.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.trim_start_matches('0').to_ascii_lowercase())
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The serial numbers of the leaves of `id` that `admin`'s Envoy uses: one, or two for the moment
/// in which a listener has taken over a new one and a cluster has not. Dropping it is safe.
///
/// # Errors
/// When Envoy does not answer.
pub async fn in_use(admin: &Admin, id: &SpiffeId) -> Result<Vec<SerialHex>, AdminError> {
    let answer: Answer = admin.get_json("/certs").await?;
    let leaves = answer.certificates.iter().filter_map(|context| context.cert_chain.first());
    let own =
        leaves.filter(|leaf| leaf.subject_alt_names.iter().any(|name| name.uri == id.as_str()));
    Ok(own.map(|leaf| SerialHex::parse(&leaf.serial_number)).collect())
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
    fn serials_compare_whatever_their_case_and_leading_zeros() {
        assert_eq!(SerialHex::from_bytes(&[0x0a, 0xbc]), SerialHex::parse("00ABC"));
        assert_ne!(SerialHex::from_bytes(&[0x0a]), SerialHex::from_bytes(&[0x0a, 0]));
    }
}
