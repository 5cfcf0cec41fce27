//! How a custom resource fares, in the terms of its status: what the plan says of it, and what the server
//! said. Pure.

use super::refusals::Refusals;
use crate::controller::{
    crd::ClusterStaticEntryStatus,
    plan::{Plan, RuleReport, StaticReport},
    status::{Ready, Report},
    world::Owner,
};
use serde_json::{Map, Value, json};

/// The report of an object; nothing when the plan has none of this name.
pub(super) fn report(plan: &Plan, refusals: &Refusals, owner: &Owner) -> Option<Report> {
    let (refused, why) = refusals.of(owner);
    match owner {
        Owner::SpiffeId(name) => Some(rule(&plan.rule_report(name)?, refused, why)),
        Owner::StaticEntry(name) => Some(static_entry(&plan.static_report(name)?, why)),
    }
}

fn rule(report: &RuleReport<'_>, refused: usize, why: Option<&str>) -> Report {
    let stats = &report.stats;
    let ready = if let Some(problem) = report.problem {
        Ready::No { reason: "Invalid", message: problem.to_string() }
    } else if let Some((pod, failure)) = report.failures.first() {
        let count = stats.render_failures;
        let message =
            format!("no entry for {count} pods, of them {}/{}: {failure}", pod.namespace, pod.name);
        Ready::No { reason: "RenderFailed", message }
    } else if let Some(why) = why {
        let message = format!("the server refuses {refused} entries: {why}");
        Ready::No { reason: "EntryRefused", message }
    } else {
        let mut parts = Vec::new();
        for (count, what) in [
            (stats.pods_waiting, "pods wait for something that is not known yet"),
            (
                stats.pods_contradicted,
                "pods can never have the workload selectors and get no entry",
            ),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        Ready::Yes { message: parts.join("; ") }
    };
    let fields = fields(json!({"stats": stats.status(refused)}));
    Report { generation: report.generation, ready, fields }
}

fn static_entry(report: &StaticReport<'_>, why: Option<&str>) -> Report {
    let is_rendered = report.problem.is_none();
    let ready = match (report.problem, why) {
        (Some(problem), _) => Ready::No { reason: "Invalid", message: problem.to_string() },
        (None, Some(why)) => Ready::No { reason: "EntryRefused", message: why.to_owned() },
        (None, None) if report.is_masked => {
            Ready::No { reason: "Masked", message: "an older object gives this entry".to_owned() }
        }
        (None, None) => Ready::Yes { message: String::new() },
    };
    let status = ClusterStaticEntryStatus {
        rendered: is_rendered,
        masked: report.is_masked,
        set: matches!(ready, Ready::Yes { .. }),
        conditions: Vec::new(),
    };
    Report { generation: report.generation, ready, fields: fields(json!(status)) }
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
