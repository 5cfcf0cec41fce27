//! The entry that a rule gives for a pod.

use super::super::{
    rule::{Rule, ServiceNames},
    settings::Settings,
    template::{Data, Template},
    world::{Node, Pod},
};
use super::{
    annotations, contradiction,
    failure::{Failure, Part},
    values::{check_workload, dns_name, member, push_new, selector},
};
use crate::spiffe::{EntrySpec, Selector, SelectorSet, SpiffeId, dns::DnsName};
use std::sync::Arc;

/// A pod for which rules are rendered.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The settings of the plan.
    pub settings: &'a Settings,
    /// The pod.
    pub pod: &'a Pod,
    /// The ID of the agent on its node.
    pub parent: &'a SpiffeId,
    /// The pod and its node for templates.
    pub data: Data,
    /// The services that it stands behind.
    pub services: Vec<Arc<str>>,
}

/// What a rule gives for a pod that it selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rendered {
    /// An entry.
    Entry(EntrySpec),
    /// Nothing: the pod can never have this selector, so an entry would be of no use.
    Contradicted(Selector),
}

/// The ID of the agent on a node.
///
/// # Errors
/// When the template gives no ID of the trust domain.
pub fn parent(settings: &Settings, node: &Node) -> Result<SpiffeId, Failure> {
    let data = Data::of_node(settings, node);
    let id = spiffe_id(Part::ParentId, &settings.parent_id_template, &data, settings)?;
    if id.path().is_empty() {
        return Err(Failure::NoPath { part: Part::ParentId, id });
    }
    Ok(id)
}

/// The entry that a rule gives for a pod.
///
/// # Errors
/// When a template gives nothing for this pod, or what it gives is not of its kind.
pub fn entry(rule: &Rule, subject: &Subject<'_>) -> Result<Rendered, Failure> {
    let settings = subject.settings;
    let id = match annotations::spiffe_id(settings, subject.pod)? {
        Some(id) => id,
        None => spiffe_id(Part::SpiffeId, &rule.spiffe_id, &subject.data, settings)?,
    };
    check_workload(&id)?;
    let mut selectors = Vec::with_capacity(rule.selectors.len() + 1);
    selectors.push(selector(format!("k8s:pod-uid:{}", subject.pod.uid))?);
    for template in &rule.selectors {
        let selector = selector(text(Part::Selector, template, &subject.data)?)?;
        if contradiction::contradicts(&selector, subject.pod) {
            return Ok(Rendered::Contradicted(selector));
        }
        selectors.push(selector);
    }
    let given = rule.given.clone();
    let mut federates_with = given.federates_with;
    federates_with.extend(annotations::federates_with(settings, subject.pod)?);
    federates_with.sort_unstable();
    federates_with.dedup();
    let spec = EntrySpec {
        spiffe_id: id,
        parent_id: subject.parent.clone(),
        selectors: SelectorSet::from_iter(selectors),
        x509_svid_ttl_secs: given.x509_svid_ttl_secs,
        jwt_svid_ttl_secs: given.jwt_svid_ttl_secs,
        federates_with,
        admin: given.admin,
        downstream: given.downstream,
        expires_at: 0,
        dns_names: dns_names(rule, subject)?,
        store_svid: false,
        hint: given.hint,
        disable_x509_svid_prefetch: false,
        jwt_svid_include_jti: false,
    };
    spec.check().map_err(Failure::Entry)?;
    Ok(Rendered::Entry(spec))
}

fn dns_names(rule: &Rule, subject: &Subject<'_>) -> Result<Vec<DnsName>, Failure> {
    let mut names = Vec::new();
    for template in &rule.dns_names {
        push_new(&mut names, dns_name(text(Part::DnsName, template, &subject.data)?)?);
    }
    if rule.service_names == ServiceNames::Added {
        for name in service_names(subject) {
            push_new(&mut names, dns_name(name)?);
        }
    }
    Ok(names)
}

/// The names of the services of a pod, in upstream's order.
fn service_names(subject: &Subject<'_>) -> Vec<String> {
    let namespace = &subject.pod.namespace;
    let domain = &subject.settings.cluster_domain;
    let mut names = Vec::with_capacity(subject.services.len() * 4);
    for service in &subject.services {
        names.push(service.to_string());
        names.push(format!("{service}.{namespace}"));
        names.push(format!("{service}.{namespace}.svc"));
        if !domain.is_empty() {
            names.push(format!("{service}.{namespace}.svc.{domain}"));
        }
    }
    names.sort_unstable();
    names
}

fn text(part: Part, template: &Template, data: &Data) -> Result<String, Failure> {
    template.render(data).map_err(|source| Failure::Template { part, source })
}

fn spiffe_id(
    part: Part,
    template: &Template,
    data: &Data,
    settings: &Settings,
) -> Result<SpiffeId, Failure> {
    let text = text(part, template, data)?;
    member(part, &text, settings)
}
