//! ClusterSPIFFEIDs: whether the controller has made of each what its author wants.

use super::objects::{ClusterSpiffeId, ClusterSpiffeIdStatus};
use crate::doctor::Finding;

pub(super) fn ready(identities: &[ClusterSpiffeId]) -> Vec<Finding> {
    if identities.is_empty() {
        return vec![Finding::well(
            "there is no ClusterSPIFFEID: only entries made by hand give identities",
        )];
    }
    identities.iter().map(is_ready).collect()
}

fn is_ready(identity: &ClusterSpiffeId) -> Finding {
    let name = &identity.metadata.name;
    let problem = |what: String| {
        Finding::problem(
            format!("ClusterSPIFFEID {name} {what}"),
            format!("kubectl describe clusterspiffeid {name}"),
        )
    };
    let Some(status) = &identity.status else {
        return problem(
            "has no status: no controller takes care of it, or its className is another one".into(),
        );
    };
    let condition = status.conditions.iter().find(|condition| condition.r#type == "Ready");
    if let Some(condition) = condition.filter(|condition| condition.status != "True") {
        return problem(format!("is not ready: {}: {}", condition.reason, condition.message));
    }
    judged_by_counts(status).map_or_else(
        || {
            let stats = &status.stats;
            let (pods, entries) = (stats.pods_selected, stats.entries_to_set);
            Finding::well(format!("ClusterSPIFFEID {name} gives {pods} pods {entries} entries"))
        },
        problem,
    )
}

/// spire-controller-manager has no conditions, only counts.
fn judged_by_counts(status: &ClusterSpiffeIdStatus) -> Option<String> {
    let (stats, mut wrong) = (&status.stats, Vec::new());
    if stats.pod_entry_render_failures > 0 {
        wrong.push(format!("cannot be rendered for {} pods", stats.pod_entry_render_failures));
    }
    if stats.entry_failures > 0 {
        wrong.push(format!("has {} entries that the server refused", stats.entry_failures));
    }
    (!wrong.is_empty()).then(|| wrong.join(" and "))
}
