//! What an Envoy says of itself that changes its answers: two hints, never who it is.

use super::secret::Validation;
use crate::wire::proto::envoy::config::core::v3::Node;
use prost_types::value::Kind;

/// How an Envoy that presents `node` wants its validation contexts, or `usual` when it does not say.
///
/// The metadata key `disable_spiffe_cert_validation` decides, as a bool or as text that Go's
/// `ParseBool` takes; else Envoys before 1.18 get the plain form, which is all they know
/// (agent.md §1.5).
pub(super) fn validation(node: &Node, usual: Validation) -> Validation {
    let metadata = node.metadata.as_ref();
    let key = metadata.and_then(|fields| fields.fields.get("disable_spiffe_cert_validation"));
    let is_disabled = match key.and_then(|value| value.kind.as_ref()) {
        Some(Kind::BoolValue(value)) => Some(*value),
        Some(Kind::StringValue(text)) => go_parse_bool(text),
        _ => None,
    };
    let wanted = match is_disabled {
        Some(true) => Validation::Plain,
        Some(false) => Validation::Spiffe,
        None => usual,
    };
    if knows_spiffe_validator(node) { wanted } else { Validation::Plain }
}

fn go_parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Whether the Envoy is 1.18 or newer, or does not say.
fn knows_spiffe_validator(node: &Node) -> bool {
    let build = node.user_agent_build_version.as_ref();
    build
        .and_then(|build| build.version)
        .is_none_or(|v| v.major_number > 1 || (v.major_number == 1 && v.minor_number > 17))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::proto::envoy::config::core::v3::{BuildVersion, SemanticVersion};
    use prost_types::{ListValue, Struct, Value};

    fn with_metadata(kind: Kind) -> Node {
        let value = Value { kind: Some(kind) };
        let fields = [("disable_spiffe_cert_validation".to_owned(), value)].into();
        Node { metadata: Some(Struct { fields }), ..Node::default() }
    }

    fn with_version(major_number: u32, minor_number: u32) -> Node {
        let version = Some(SemanticVersion { major_number, minor_number, patch: 0 });
        let user_agent_build_version = Some(BuildVersion { version });
        Node { user_agent_build_version, ..Node::default() }
    }

    #[test]
    fn metadata_overrides_the_configuration_only_where_it_reads_as_a_bool() {
        use Validation::{Plain, Spiffe};
        let text = |text: &str| with_metadata(Kind::StringValue(text.to_owned()));
        for (node, usual, expected) in [
            (with_metadata(Kind::BoolValue(true)), Spiffe, Plain),
            (with_metadata(Kind::BoolValue(false)), Plain, Spiffe),
            (text("true"), Spiffe, Plain),
            (text("F"), Plain, Spiffe),
            (text("yes"), Spiffe, Spiffe),
            (text("yes"), Plain, Plain),
            (with_metadata(Kind::NumberValue(1.0)), Spiffe, Spiffe),
            (with_metadata(Kind::NullValue(0)), Plain, Plain),
            (with_metadata(Kind::StructValue(Struct::default())), Spiffe, Spiffe),
            (with_metadata(Kind::ListValue(ListValue::default())), Plain, Plain),
            (Node::default(), Plain, Plain),
        ] {
            assert_eq!(validation(&node, usual), expected, "{node:?}");
        }
    }

    #[test]
    fn envoys_before_1_18_get_the_plain_form() {
        for (major, minor, expected) in [
            (1, 17, Validation::Plain),
            (1, 18, Validation::Spiffe),
            (2, 0, Validation::Spiffe),
            (0, 99, Validation::Plain),
        ] {
            assert_eq!(validation(&with_version(major, minor), Validation::Spiffe), expected);
        }
    }
}
