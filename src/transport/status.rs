//! The only place that turns the kind of an error into a gRPC code, and the detail by which SPIRE tells
//! an agent why it is refused. Knows kinds, never the errors themselves.
//!
//! The three messages of that detail are declared here because `transport` lies beside the generated
//! code, not above it; they are wire-compatible with google.rpc.Status and
//! spire.api.types.PermissionDeniedDetails.

use prost::Message;
use tonic::{Code, Status};

/// What an error means to the peer that caused or met it. Every error enum that can reach a peer
/// answers one by its `kind()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request breaks a rule; the same request will never succeed.
    Invalid,
    /// What the request names does not exist.
    NotFound,
    /// What the request would create exists.
    Exists,
    /// The caller may not do this.
    Denied,
    /// The caller has not proved who it is.
    Unauthenticated,
    /// The state does not allow it; it may later.
    Precondition,
    /// Somebody else is at work on the same thing; retry.
    Busy,
    /// A limit is reached; slower or smaller requests succeed.
    Exhausted,
    /// Something that is needed is away for now; retry.
    Unavailable,
    /// Took longer than the caller gave it.
    Deadline,
    /// This server does not do that.
    Unsupported,
    /// Our own fault.
    Internal,
}

/// Why an agent is refused (SPIRE 1.15: `PermissionDeniedDetails.Reason`). A SPIRE agent that meets any
/// of the first three or the last throws its SVID away and attests again; a banned one stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The certificate it presents has ended.
    AgentExpired,
    /// The server does not know it, or was told to forget it.
    AgentNotAttested,
    /// Its certificate was replaced by a newer one.
    AgentNotActive,
    /// An operator has banned it.
    AgentBanned,
    /// It must attest again instead of renewing.
    AgentMustReattest,
}

/// SPIRE's message for success in a batch item.
pub const OK_MESSAGE: &str = "OK";

/// A message may repeat what the peer sent. It travels in headers, of which clients take 8 KiB, and each
/// odd character of it takes three bytes there.
const MAX_MESSAGE_BYTES: usize = 2 * 1024;

const DETAILS_TYPE: &str = "type.googleapis.com/spire.api.types.PermissionDeniedDetails";

#[derive(Clone, PartialEq, Message)]
struct RichStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

#[derive(Clone, PartialEq, Message)]
struct PermissionDeniedDetails {
    #[prost(int32, tag = "1")]
    reason: i32,
}

impl Kind {
    /// The gRPC code of this kind.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Invalid => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::Exists => Code::AlreadyExists,
            Self::Denied => Code::PermissionDenied,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::Precondition => Code::FailedPrecondition,
            Self::Busy => Code::Aborted,
            Self::Exhausted => Code::ResourceExhausted,
            Self::Unavailable => Code::Unavailable,
            Self::Deadline => Code::DeadlineExceeded,
            Self::Unsupported => Code::Unimplemented,
            Self::Internal => Code::Internal,
        }
    }

    /// The code as batch items carry it (google.rpc.Code).
    #[must_use]
    pub const fn number(self) -> i32 {
        self.code() as i32
    }

    /// A gRPC status of this kind. Of a message that is too long for headers the beginning is sent.
    #[must_use]
    pub fn status(self, message: impl Into<String>) -> Status {
        let mut message = message.into();
        message.truncate(shortened(&message).len());
        Status::new(self.code(), message)
    }
}

/// The beginning of a text that somebody else has made as long as it is.
#[must_use]
pub fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_MESSAGE_BYTES)).unwrap_or(text)
}

impl Reason {
    const ALL: [Self; 5] = [
        Self::AgentExpired,
        Self::AgentNotAttested,
        Self::AgentNotActive,
        Self::AgentBanned,
        Self::AgentMustReattest,
    ];

    const fn number(self) -> i32 {
        match self {
            Self::AgentExpired => 1,
            Self::AgentNotAttested => 2,
            Self::AgentNotActive => 3,
            Self::AgentBanned => 4,
            Self::AgentMustReattest => 5,
        }
    }

    /// The status PERMISSION_DENIED with this reason in `grpc-status-details-bin`.
    #[must_use]
    pub fn status(self, message: impl Into<String>) -> Status {
        let (code, message) = (Code::PermissionDenied, message.into());
        let details = PermissionDeniedDetails { reason: self.number() };
        let rich = RichStatus {
            code: code as i32,
            message: message.clone(),
            details: vec![prost_types::Any {
                type_url: DETAILS_TYPE.to_owned(),
                value: details.encode_to_vec(),
            }],
        };
        Status::with_details(code, message, rich.encode_to_vec().into())
    }

    /// The reason that a peer gave for PERMISSION_DENIED, if it gave one that we know.
    #[must_use]
    pub fn of(status: &Status) -> Option<Self> {
        if status.code() != Code::PermissionDenied {
            return None;
        }
        let rich = RichStatus::decode(status.details()).ok()?;
        let detail = rich.details.iter().find(|detail| detail.type_url == DETAILS_TYPE)?;
        let number = PermissionDeniedDetails::decode(detail.value.as_slice()).ok()?.reason;
        Self::ALL.into_iter().find(|reason| reason.number() == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_survives_the_way_through_http_headers() {
        for reason in Reason::ALL {
            let sent = reason.status("authorization denied for method /a/B");
            let mut headers = http::HeaderMap::new();
            sent.add_header(&mut headers).unwrap();
            assert!(headers.contains_key("grpc-status-details-bin"));
            let received = Status::from_header_map(&headers).unwrap();
            assert_eq!(received.code(), Code::PermissionDenied);
            assert_eq!(received.message(), "authorization denied for method /a/B");
            assert_eq!(Reason::of(&received), Some(reason));
        }
    }

    #[test]
    fn a_message_too_long_for_headers_is_cut_between_two_characters() {
        for (text, length) in [("a".repeat(2_048), 2_048), ("\u{20ac}".repeat(9_000), 2_046)] {
            let status = Kind::Invalid.status(text.clone());
            assert_eq!(status.message(), &text[..length]);
        }
    }

    #[test]
    fn a_denial_without_readable_details_has_no_reason() {
        let garbage = Status::with_details(Code::PermissionDenied, "no", vec![0xff; 9].into());
        assert_eq!(Reason::of(&garbage), None);
        assert_eq!(Reason::of(&Kind::Denied.status("no")), None);
        let elsewhere = Reason::AgentBanned.status("no").details().to_vec();
        let other_code = Status::with_details(Code::Internal, "no", elsewhere.into());
        assert_eq!(Reason::of(&other_code), None);
    }

    #[test]
    fn the_detail_is_byte_for_byte_what_spire_sends() {
        let status = Reason::AgentBanned.status("m");
        let mut expected = vec![0x08, 7, 0x12, 1, b'm', 0x1a, 2 + 59 + 2 + 2, 0x0a, 59];
        expected.extend(DETAILS_TYPE.as_bytes());
        expected.extend([0x12, 2, 0x08, 4]);
        assert_eq!(DETAILS_TYPE.len(), 59);
        assert_eq!(status.details(), expected);
    }
}
