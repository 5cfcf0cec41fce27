//! Protobuf messages as JSON in the form of SPIRE's `-output json`: names of the .proto files, every
//! field, no nulls, keys sorted, 64-bit numbers as strings, one line, `<>&` escaped as Go does.

use crate::wire::proto::{
    DESCRIPTORS,
    spire::{
        agent::debug::v1::GetInfoResponse,
        api::{
            server::{
                agent::v1::{CountAgentsResponse, ListAgentsResponse},
                bundle::v1::CountBundlesResponse,
                entry::v1::{
                    BatchCreateEntryResponse, BatchDeleteEntryResponse, BatchUpdateEntryResponse,
                    CountEntriesResponse, ListEntriesResponse,
                },
            },
            types,
        },
    },
    workload::X509svidResponse,
};
use prost_reflect::{DescriptorError, DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::Value;

/// A message whose descriptor can be found.
pub(super) trait Described: prost::Message {
    /// Its full name in proto/.
    const FULL_NAME: &'static str;
}

macro_rules! described {
    ($($message:ty = $name:literal,)*) => {
        $(impl Described for $message { const FULL_NAME: &'static str = $name; })*
        #[cfg(test)]
        const NAMES: &[&str] = &[$($name),*];
    };
}

described! {
    () = "google.protobuf.Empty",
    BatchCreateEntryResponse = "spire.api.server.entry.v1.BatchCreateEntryResponse",
    BatchDeleteEntryResponse = "spire.api.server.entry.v1.BatchDeleteEntryResponse",
    BatchUpdateEntryResponse = "spire.api.server.entry.v1.BatchUpdateEntryResponse",
    CountAgentsResponse = "spire.api.server.agent.v1.CountAgentsResponse",
    CountBundlesResponse = "spire.api.server.bundle.v1.CountBundlesResponse",
    CountEntriesResponse = "spire.api.server.entry.v1.CountEntriesResponse",
    GetInfoResponse = "spire.agent.debug.v1.GetInfoResponse",
    ListAgentsResponse = "spire.api.server.agent.v1.ListAgentsResponse",
    ListEntriesResponse = "spire.api.server.entry.v1.ListEntriesResponse",
    X509svidResponse = "X509SVIDResponse",
    types::Agent = "spire.api.types.Agent",
    types::Bundle = "spire.api.types.Bundle",
    types::JoinToken = "spire.api.types.JoinToken",
}

/// A message that cannot be shown, which the tests below exclude for every message there is.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The built-in descriptors are broken.
    #[error("cannot read the protobuf descriptors: {0}")]
    Descriptors(#[from] DescriptorError),
    /// The message has no descriptor.
    #[error("no protobuf descriptor for {0}")]
    Unknown(&'static str),
    /// The message does not fit its descriptor.
    #[error("cannot encode {name} as JSON: {source}")]
    Encode {
        /// Which message.
        name: &'static str,
        /// What is wrong.
        source: prost::DecodeError,
    },
    /// The JSON encoder refused it.
    #[error("cannot encode as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// One line of JSON.
///
/// # Errors
/// When the message has no descriptor or does not fit it.
pub(super) fn line<M: Described>(message: &M) -> Result<String, Error> {
    let name = M::FULL_NAME;
    let pool = DescriptorPool::decode(DESCRIPTORS)?;
    let descriptor = pool.get_message_by_name(name).ok_or(Error::Unknown(name))?;
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .map_err(|source| Error::Encode { name, source })?;
    let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(false);
    let mut value = message.serialize_with_options(serde_json::value::Serializer, &options)?;
    remove_nulls(&mut value);
    Ok(escape(&value.to_string()) + "\n")
}

fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => {
            items.retain(|item| !item.is_null());
            items.iter_mut().for_each(remove_nulls);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// These characters stand only inside strings, where their escape means the same: Go's set, and what
/// acts on a terminal.
fn escape(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\u{7f}'..='\u{9f}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_has_a_descriptor() {
        let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
        for name in NAMES {
            assert!(pool.get_message_by_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn unset_fields_are_shown_and_unset_messages_are_not() {
        let entry = types::Entry { hint: "<\u{9b}&\x1b>".to_owned(), ..types::Entry::default() };
        let response = ListEntriesResponse { entries: vec![entry], ..Default::default() };
        let expected = concat!(
            r#"{"entries":[{"admin":false,"created_at":"0","dns_names":[],"downstream":false,"#,
            r#""expires_at":"0","federates_with":[],"hint":"\u003c\u009b\u0026\u001b\u003e","id":"","#,
            r#""jwt_svid_ttl":0,"revision_number":"0","selectors":[],"store_svid":false,"#,
            r#""x509_svid_ttl":0}],"next_page_token":""}"#,
            "\n"
        );
        assert_eq!(line(&response).unwrap(), expected);
        assert_eq!(line(&()).unwrap(), "{}\n");
    }
}
