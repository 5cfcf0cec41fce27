//! The node messages that Envoys introduce themselves with, at their real size.

use crate::wire::proto::envoy::{
    config::core::v3::{BuildVersion, Node, SemanticVersion},
    service::discovery::v3::DiscoveryRequest,
};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};
use prost_types::{Struct, Value, value::Kind};

/// A node as Istio's proxy of `id` describes itself, as far as SDS looks at it.
#[must_use]
pub fn istio_proxy(id: &str) -> Node {
    Node {
        id: format!("sidecar~10.0.0.1~{id}.default~default.svc.cluster.local"),
        cluster: format!("{id}.default"),
        metadata: None,
        user_agent_build_version: Some(version(1, 36, 0)),
    }
}

/// The same node, of another Envoy version.
#[must_use]
pub fn with_version(mut node: Node, major: u32, minor: u32, patch: u32) -> Node {
    node.user_agent_build_version = Some(version(major, minor, patch));
    node
}

/// The same node with one more field in its metadata.
#[must_use]
pub fn with_metadata(mut node: Node, key: &str, value: Kind) -> Node {
    let metadata = node.metadata.get_or_insert_with(Struct::default);
    metadata.fields.insert(key.to_owned(), Value { kind: Some(value) });
    node
}

/// A first request as it comes from Envoy: 61 kB, nearly all of them the list of its extensions,
/// which finial's own message type leaves out.
#[must_use]
pub fn first_request_of_envoys_size(request: &DiscoveryRequest) -> Vec<u8> {
    // Field numbers of envoy.config.core.v3: Node.extensions, and DiscoveryRequest.node.
    const EXTENSIONS: u32 = 9;
    const NODE: u32 = 2;
    let mut node = request.node.as_ref().map(Message::encode_to_vec).unwrap_or_default();
    for number in 0..EXTENSION_COUNT {
        let extension = format!(
            "\n\x2denvoy.filters.http.extension_with_number_{number:04}\x12\x13envoy.filters.network"
        );
        push_field(&mut node, EXTENSIONS, extension.as_bytes());
    }
    let mut message = DiscoveryRequest { node: None, ..request.clone() }.encode_to_vec();
    push_field(&mut message, NODE, &node);
    message
}

/// Brings the message to the 61 kB that were measured of Envoy 1.40.
const EXTENSION_COUNT: usize = 870;

fn push_field(message: &mut Vec<u8>, number: u32, content: &[u8]) {
    encode_key(number, WireType::LengthDelimited, message);
    encode_varint(content.len() as u64, message);
    message.extend_from_slice(content);
}

fn version(major: u32, minor: u32, patch: u32) -> BuildVersion {
    let version = SemanticVersion { major_number: major, minor_number: minor, patch };
    BuildVersion { version: Some(version) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_request_has_envoys_size_and_still_says_who_asks_for_what() {
        let request = DiscoveryRequest {
            node: Some(istio_proxy("web")),
            resource_names: vec!["default".to_owned()],
            ..DiscoveryRequest::default()
        };
        let encoded = first_request_of_envoys_size(&request);
        assert!((60_000..63_000).contains(&encoded.len()), "{} bytes", encoded.len());
        assert_eq!(DiscoveryRequest::decode(encoded.as_slice()).unwrap(), request);
    }
}
