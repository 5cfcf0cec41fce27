//! Looks at what is marked: which entries pods and static entries give now.

use super::super::{
    render::{self, Failure, Rendered},
    rule::{Rule, ServiceNames, Standing},
    template::Data,
    wanted::{EntryKey, Wanted},
    world::{Kind, Owner, Phase, Pod},
};
use super::{
    delta::{Delta, Evidence},
    outcome::{Outcome, Why},
    owners::Problem,
    place::{Given, put_outcomes},
    state::Plan,
};
use std::{collections::HashMap, sync::Arc};

/// The IDs of agents by the names of their nodes, for one computation.
type Parents = HashMap<Arc<str>, Result<crate::spiffe::SpiffeId, Arc<Failure>>>;

impl Plan {
    /// What changed since the last call. Nothing is wanted for pods before all ClusterSPIFFEIDs were
    /// listed once: another one could have an identity for them.
    #[must_use]
    pub fn recompute(&mut self) -> Delta {
        recompute(self)
    }

    /// As [`Plan::recompute`], after another look at everything: a safety net, which finds nothing.
    #[must_use]
    pub fn recompute_fully(&mut self) -> Delta {
        for uid in self.cluster.pod_uids() {
            self.dirty.mark_pod(uid, Evidence::Seen);
        }
        for name in self.owners.static_entries.keys() {
            self.dirty.mark_static_entry(Arc::clone(name), Evidence::Seen);
        }
        self.recompute()
    }
}

fn recompute(plan: &mut Plan) -> Delta {
    if plan.lists.is_complete(Kind::SpiffeIds) {
        let mut parents = Parents::new();
        for (uid, evidence) in std::mem::take(&mut plan.dirty.pods) {
            look_at_pod(plan, &uid, evidence, &mut parents);
        }
    }
    for (name, evidence) in std::mem::take(&mut plan.dirty.static_entries) {
        look_at_static_entry(plan, &name, evidence);
    }
    let touched = std::mem::take(&mut plan.dirty.touched);
    let delta = plan.claims.settle(&plan.owners, touched);
    delta.touched.iter().for_each(|owner| plan.claims.forget(owner));
    delta
}

fn look_at_pod(plan: &mut Plan, uid: &Arc<str>, evidence: Evidence, parents: &mut Parents) {
    let Some(pod) = plan.cluster.pod(uid).map(Arc::clone) else { return };
    // While something about the pod is not known, only rules that are gone lose their entry.
    let given = entries(plan, &pod, parents).unwrap_or_else(|| kept(plan, uid));
    put_outcomes(plan, uid, given, evidence);
}

/// What the pod gave before under the rules that are there.
fn kept(plan: &Plan, uid: &str) -> Vec<Given> {
    let former = plan.outcomes.of_pod(uid).iter();
    let still = former.filter(|(rule, _)| plan.owners.rules.contains_key(rule));
    still.map(|(rule, outcome)| (Arc::clone(rule), outcome.clone(), None)).collect()
}

/// What the pod gives under each rule that selects it; nothing while its node or namespace is not known.
fn entries(plan: &Plan, pod: &Arc<Pod>, parents: &mut Parents) -> Option<Vec<Given>> {
    if pod.phase == Phase::Ended || plan.settings.ignores(&pod.namespace) {
        return Some(Vec::new());
    }
    let namespace = plan.cluster.namespace(&pod.namespace)?;
    let selecting: Vec<_> = (plan.owners.rules())
        .filter(|rule| rule.selects_pod(&pod.labels) && rule.selects_namespace(namespace))
        .collect();
    if selecting.is_empty() {
        return Some(Vec::new());
    }
    let node = plan.cluster.node(pod.node.as_ref()?)?;
    let parent = parents
        .entry(Arc::clone(&node.name))
        .or_insert_with(|| render::parent(&plan.settings, node).map_err(Arc::new));
    let parent = match parent {
        Ok(parent) => parent,
        Err(failure) => {
            let fail = |rule: &&Arc<Rule>| failed(plan, pod, rule, Arc::clone(failure));
            return Some(selecting.iter().map(fail).collect());
        }
    };
    let subject = render::Subject {
        settings: &plan.settings,
        pod,
        parent,
        data: Data::of_pod(&plan.settings, node, pod),
        services: plan.cluster.services(pod),
    };
    let of = |standing| {
        let rules = selecting.iter().filter(move |rule| rule.standing == standing);
        rules.map(|rule| given(plan, rule, &subject)).collect::<Vec<_>>()
    };
    let mut all = of(Standing::First);
    let is_waiting = |outcome: &Outcome| matches!(outcome, Outcome::Held { why: Why::Waiting, .. });
    if !all.iter().any(|(_, outcome, _)| outcome.key().is_some() || is_waiting(outcome)) {
        all.extend(of(Standing::Fallback));
    }
    Some(all)
}

fn given(plan: &Plan, rule: &Arc<Rule>, subject: &render::Subject<'_>) -> Given {
    let pod = subject.pod;
    let needs_endpoints = rule.service_names == ServiceNames::Added;
    if needs_endpoints && !plan.lists.is_complete(Kind::Endpoints) {
        return held(plan, pod, rule, Why::Waiting);
    }
    let spec = match render::entry(rule, subject) {
        Ok(Rendered::Entry(spec)) => spec,
        Ok(Rendered::Contradicted(_)) => {
            return (Arc::clone(&rule.name), Outcome::Contradicted, None);
        }
        Err(failure) => return failed(plan, pod, rule, Arc::new(failure)),
    };
    let key = EntryKey::of(&spec);
    let owner = Owner::SpiffeId(Arc::clone(&rule.name));
    let wanted = Wanted { spec, owner, pod: Some(Arc::clone(&pod.uid)) };
    (Arc::clone(&rule.name), Outcome::Entry(key), Some(wanted))
}

fn failed(plan: &Plan, pod: &Pod, rule: &Rule, failure: Arc<Failure>) -> Given {
    held(plan, pod, rule, Why::Failing(failure))
}

fn held(plan: &Plan, pod: &Pod, rule: &Rule, why: Why) -> Given {
    let former = plan.outcomes.of_pod(&pod.uid).iter().find(|(name, _)| *name == rule.name);
    let kept = former.and_then(|(_, outcome)| outcome.key());
    (Arc::clone(&rule.name), Outcome::Held { kept, why }, None)
}

fn look_at_static_entry(plan: &mut Plan, name: &Arc<str>, evidence: Evidence) {
    let owner = Owner::StaticEntry(Arc::clone(name));
    plan.dirty.touched.insert(owner.clone());
    let Some(state) = plan.owners.static_entries.get_mut(name) else { return };
    let claimed = state.claimed;
    let Some(form) = &state.form else {
        // One that was never read may still have an entry; one that is gone has none.
        if state.problem.is_none() {
            plan.owners.static_entries.remove(name);
            if let Some(key) = claimed {
                plan.claims.withdraw(key, &owner, evidence);
            }
        }
        return;
    };
    let spec = match render::static_entry(&plan.settings, &form.spec) {
        Ok(spec) => spec,
        Err(failure) => {
            state.problem = Some(Problem::Entry(failure));
            return;
        }
    };
    let key = EntryKey::of(&spec);
    state.claimed = Some(key);
    if !matches!(state.problem, Some(Problem::Unreadable(_))) {
        state.problem = None;
    }
    if let Some(former) = claimed.filter(|former| *former != key) {
        plan.claims.withdraw(former, &owner, evidence);
    }
    plan.claims.claim(key, Wanted { spec, owner, pod: None });
}
