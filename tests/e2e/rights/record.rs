//! The API server's own record of who asked it for what: its audit log, whose policy is in
//! `tests/cluster/config.sh`. Knows nothing of what is granted.

use super::Right;
use crate::cluster::Cluster;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

/// The rights that each service account of a namespace has asked for, whether it has them or not: each is to
/// one object, or to all where the request named none.
pub(super) fn asked(cluster: &Cluster, namespace: &str) -> BTreeMap<String, BTreeSet<Right>> {
    let mut found: BTreeMap<String, BTreeSet<Right>> = BTreeMap::new();
    let record = fs::read_to_string(cluster.file("log/audit.json")).unwrap();
    // The last line may be half written.
    for event in record.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let (user, asked) = match event["requestObject"]["spec"]["user"].as_str() {
            Some(user) => (user, asked_of_the_kubelet(&event)),
            None => (event["user"]["username"].as_str().unwrap(), asked_directly(&event)),
        };
        let account = user.strip_prefix("system:serviceaccount:");
        if let Some((place, account)) = account.and_then(|account| account.split_once(':'))
            && place == namespace
        {
            found.entry(account.to_owned()).or_default().insert(asked);
        }
    }
    found
}

/// As rules of roles and people spell a resource.
pub(super) fn spelled(resource: &str, group: &str) -> String {
    let dot = if group.is_empty() { "" } else { "." };
    format!("{resource}{dot}{group}")
}

fn asked_directly(event: &Value) -> Right {
    let object = &event["objectRef"];
    let resource = path(&object["resource"], &object["subresource"])
        .unwrap_or_else(|| event["requestURI"].as_str().unwrap().to_owned());
    Right {
        namespace: given(&object["namespace"]),
        resource: spelled(&resource, object["apiGroup"].as_str().unwrap_or_default()),
        name: given(&object["name"]),
        verb: given(&event["verb"]).unwrap(),
    }
}

/// By a SubjectAccessReview of the kubelet's.
fn asked_of_the_kubelet(event: &Value) -> Right {
    let wanted = &event["requestObject"]["spec"]["resourceAttributes"];
    let resource = path(&wanted["resource"], &wanted["subresource"]).unwrap_or_default();
    Right {
        namespace: given(&wanted["namespace"]),
        resource: spelled(&resource, wanted["group"].as_str().unwrap_or_default()),
        name: given(&wanted["name"]),
        verb: given(&wanted["verb"]).unwrap_or_default(),
    }
}

fn path(resource: &Value, subresource: &Value) -> Option<String> {
    let resource = given(resource)?;
    Some(match given(subresource) {
        Some(subresource) => format!("{resource}/{subresource}"),
        None => resource,
    })
}

fn given(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}
