//! A custom resource's status and its `Ready` condition. Pure.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use serde_json::{Map, Value};

/// Whether a custom resource does what its author asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::controller) enum Ready {
    /// It does.
    Yes {
        /// What there is to say all the same; may be empty.
        message: String,
    },
    /// It does not.
    No {
        /// One word for programs.
        reason: &'static str,
        /// For people.
        message: String,
    },
}

/// What became of a custom resource.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::controller) struct Report {
    /// The object's form that this is about.
    pub(in crate::controller) generation: Option<i64>,
    /// Whether it works.
    pub(in crate::controller) ready: Ready,
    /// Upstream's fields of this kind's status.
    pub(in crate::controller) fields: Map<String, Value>,
}

/// The longest message that the API server takes is 32 KiB; nobody reads more than this.
const MAX_MESSAGE_BYTES: usize = 1_024;

impl Report {
    /// The condition, which keeps the time of `before` unless it turned.
    pub(super) fn condition(&self, before: Option<&Condition>, now: Timestamp) -> Condition {
        let (status, reason, message) = match &self.ready {
            Ready::Yes { message } => ("True", "Reconciled", message),
            Ready::No { reason, message } => ("False", *reason, message),
        };
        let kept = before.filter(|before| before.status == status);
        Condition {
            type_: "Ready".to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: shortened(message),
            observed_generation: self.generation,
            last_transition_time: kept
                .map_or(Time(now), |before| before.last_transition_time.clone()),
        }
    }
}

fn shortened(message: &str) -> String {
    if message.len() <= MAX_MESSAGE_BYTES {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(MAX_MESSAGE_BYTES);
    format!("{}…", message.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(ready: Ready) -> Report {
        Report { generation: Some(3), ready, fields: Map::new() }
    }

    #[test]
    fn a_condition_keeps_its_time_until_it_turns() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let no = |message: &str| report(Ready::No { reason: "Invalid", message: message.into() });
        let first = no("a").condition(None, at(10));
        assert_eq!((first.status.as_str(), first.last_transition_time.0), ("False", at(10)));
        let second = no("b").condition(Some(&first), at(20));
        assert_eq!((second.message.as_str(), second.last_transition_time.0), ("b", at(10)));
        let third = report(Ready::Yes { message: String::new() }).condition(Some(&second), at(30));
        assert_eq!((third.status.as_str(), third.last_transition_time.0), ("True", at(30)));
        assert_eq!(third.observed_generation, Some(3));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let message = "ä".repeat(2_000);
        assert!(shortened(&message).len() <= MAX_MESSAGE_BYTES + 3);
    }
}
