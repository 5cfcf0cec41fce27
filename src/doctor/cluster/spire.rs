//! The server and its controller: whether they are up, of one trust domain, and heard by the API server.

use super::{
    objects::{Webhook, Workload},
    seen::Called,
    settings::Settings,
};
use crate::doctor::Finding;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use std::collections::BTreeSet;

pub(super) fn servers(servers: &[Workload]) -> Vec<Finding> {
    if servers.is_empty() {
        return vec![Finding::well(
            "no StatefulSet or Deployment has a container spire-server: the server is elsewhere",
        )];
    }
    let is_ready = |server: &Workload| {
        let (name, namespace) = (&server.metadata.name, &server.metadata.namespace);
        if server.status.ready_replicas > 0 {
            return Finding::well(format!("the server {name} in {namespace} is ready"));
        }
        Finding::problem(
            format!(
                "the server {name} in {namespace} is not ready: nothing is signed, and what runs \
                 goes on with what it has"
            ),
            format!("kubectl get pods -n {namespace}"),
        )
    };
    servers.iter().map(is_ready).collect()
}

pub(super) fn trust_domains(servers: &[Settings], agents: &[Settings]) -> Option<Finding> {
    let all = servers.iter().chain(agents).map(|of| of.trust_domain.name());
    let all: Vec<&str> = all.collect::<BTreeSet<_>>().into_iter().collect();
    match all.as_slice() {
        [] => None,
        [one] => Some(Finding::well(format!("the trust domain is {one}"))),
        several => Some(Finding::problem(
            format!(
                "servers and agents are of several trust domains, {}: an agent attests to a server \
                 of its own only",
                several.join(", ")
            ),
            "kubectl get configmaps -A -o yaml --field-selector metadata.name=spire-agent",
        )),
    }
}

/// With the ready endpoints of the service behind each.
pub(super) fn webhooks(webhooks: &[(Called<Webhook>, usize)]) -> Vec<Finding> {
    let judge = |(Called { name, it: webhook }, ready): &(Called<Webhook>, usize)| {
        if !has_certificate(&webhook.client_config.ca_bundle) {
            return Finding::problem(
                format!(
                    "the webhook {} has no caBundle, which the controller writes: objects cannot be \
                     applied, or are not checked",
                    webhook.name
                ),
                format!("kubectl get validatingwebhookconfiguration {name} -o yaml"),
            );
        }
        match (&webhook.client_config.service, ready) {
            (Some(service), 0) => Finding::problem(
                format!(
                    "nobody ready is behind the webhook {}: objects cannot be applied, or are not \
                     checked",
                    webhook.name
                ),
                format!("kubectl describe service {} -n {}", service.name, service.namespace),
            ),
            _ => Finding::well(format!("the webhook {} is served", webhook.name)),
        }
    };
    webhooks.iter().map(judge).collect()
}

/// Some installers write a line feed for a placeholder: the field may not be empty in every version.
fn has_certificate(bundle: &str) -> bool {
    let pem = BASE64_STANDARD.decode(bundle).unwrap_or_default();
    pem.windows(CERTIFICATE.len()).any(|window| window == CERTIFICATE)
}

const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
