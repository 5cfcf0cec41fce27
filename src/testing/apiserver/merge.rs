//! JSON merge patch (RFC 7396), which also stands in for server-side apply, and of strategic merge patch
//! what our patches use: lists of named objects are merged by name.

use serde_json::{Map, Value};

/// Puts `patch` over `target`.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else if key == "webhooks" {
            merge_named(target.entry(key.clone()).or_insert(Value::Null), value);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The list that Kubernetes merges by its objects' names.
fn merge_named(target: &mut Value, patch: &Value) {
    let (Value::Array(target), Value::Array(patch)) = (target, patch) else { return };
    for one in patch {
        match target.iter_mut().find(|there| there["name"] == one["name"]) {
            Some(there) => merge(there, one),
            None => target.push(one.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_replaces_adds_and_removes() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "d": [1, 2]});
        merge(&mut target, &json!({"a": {"b": 3, "c": null}, "d": [9], "e": {"f": null}}));
        assert_eq!(target, json!({"a": {"b": 3}, "d": [9], "e": {}}));
    }
}
