//! Token reviews, in the words of the real server.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Each token's status, as if it was asked for every audience.
#[derive(Default)]
pub(super) struct Reviews(pub(super) BTreeMap<String, Value>);

/// Where reviews are asked for.
pub(super) const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

impl Reviews {
    /// The answer to a review.
    pub(super) fn answer(&self, mut review: Value) -> Value {
        review["status"] = self.status(&review["spec"]);
        review
    }

    fn status(&self, spec: &Value) -> Value {
        let Some(status) = spec["token"].as_str().and_then(|token| self.0.get(token)) else {
            return json!({"user": {}, "error": "invalid bearer token"});
        };
        let texts = |list: &Value| list.as_array().cloned().unwrap_or_default();
        let (wanted, found) = (texts(&spec["audiences"]), texts(&status["audiences"]));
        let both: Vec<_> = wanted.iter().filter(|audience| found.contains(audience)).collect();
        if !wanted.is_empty() && both.is_empty() && !found.is_empty() {
            let error = format!(
                "[invalid bearer token, token audiences {found:?} is invalid for the target audiences \
                 {wanted:?}]"
            );
            return json!({"user": {}, "error": error});
        }
        let mut status = status.clone();
        status["audiences"] = json!(both);
        status
    }
}
