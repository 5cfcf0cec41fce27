//! Istio: whether its mesh is of our trust domain, its proxies open a socket that there is, and its
//! templates mount it where the proxy of a pod is.

use super::{
    nodes::DRIVER,
    objects::{ClusterSpiffeId, Node, Workload},
    seen::{Called, Istio},
    settings::{Injector, Mesh, Settings},
};
use crate::doctor::Finding;
use std::collections::BTreeSet;

/// The list of a pod's specification that a sidecar's proxy is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum List {
    /// An init container that goes on running.
    Native,
    /// A container like any other.
    Plain,
}

/// The mesh against the trust domain of `ours`, and against those that identities federate with.
pub(super) fn mesh(
    istio: &Istio,
    ours: Option<&Settings>,
    identities: &[ClusterSpiffeId],
) -> Vec<Finding> {
    let Ok(meshes) = &istio.meshes else { return Vec::new() };
    if meshes.is_empty() {
        let namespace = &istio.namespace;
        return vec![Finding::well(format!("Istio has no mesh in the namespace {namespace}"))];
    }
    let Some(ours) = ours.map(|settings| settings.trust_domain.name()) else { return Vec::new() };
    let foreign: BTreeSet<_> = identities.iter().flat_map(|of| &of.spec.federates_with).collect();
    let mut findings = Vec::new();
    for Called { name, it: mesh } in meshes {
        let edit = format!("kubectl edit configmap {name} -n {}", istio.namespace);
        findings.push(trust_domain(mesh, ours, &edit));
        for foreign in foreign.iter().filter(|foreign| !mesh.knows(foreign)) {
            findings.push(Finding::problem(
                format!(
                    "identities federate with {foreign}, which is not in the mesh's \
                     trustDomainAliases or caCertificates: proxies refuse its peers"
                ),
                edit.clone(),
            ));
        }
    }
    findings
}

fn trust_domain(mesh: &Mesh, ours: &str, edit: &str) -> Finding {
    let theirs = &mesh.trust_domain;
    if theirs == ours {
        return Finding::well(format!("the mesh's trust domain is {ours}"));
    }
    let alias = if mesh.trust_domain_aliases.iter().any(|alias| alias == ours) {
        ", which the mesh has for an alias only"
    } else {
        ": proxies refuse each other's identities"
    };
    Finding::problem(format!("the mesh's trust domain is {theirs}, ours is {ours}{alias}"), edit)
}

/// The socket's name that proxies want, against those that agents have.
pub(super) fn socket(istio: &Istio, agents: &[Settings]) -> Vec<Finding> {
    let meshes = istio.meshes.as_deref().unwrap_or_default();
    let mut findings = Vec::new();
    for Called { name, it: mesh } in meshes {
        let wanted = mesh.socket_name();
        for agent in agents.iter().filter(|agent| !agent.socket_names.iter().any(|n| n == wanted)) {
            findings.push(Finding::problem(
                format!(
                    "proxies open the socket {wanted}, and the agent's are called {}: they wait, or \
                     take identities from istiod",
                    agent.socket_names.join(", ")
                ),
                format!("kubectl edit configmap {name} -n {}", istio.namespace),
            ));
        }
    }
    findings
}

pub(super) fn templates(istio: &Istio, nodes: &[Node]) -> Vec<Finding> {
    let injectors = istio.injectors.as_deref().unwrap_or_default();
    let pilots = istio.pilots.as_deref().unwrap_or_default();
    let list = pilots.iter().map(|pilot| list_of(pilot, nodes)).collect::<BTreeSet<_>>();
    // Revisions that differ have templates that differ: which belongs to which is in their names at best.
    let list = if list.len() == 1 { list.into_iter().next().flatten() } else { None };
    let mut findings = Vec::new();
    for injector in injectors {
        findings.push(for_sidecars(&Ours::of(injector, false), list, &istio.namespace));
        // Not every mesh has gateways that are injected: without a template nothing is wrong.
        let gateways = Ours::of(injector, true);
        if !gateways.templates.is_empty() {
            findings.push(for_gateways(&gateways, &istio.namespace));
        }
    }
    findings
}

/// The templates of an injector that mount the driver, for the one kind of proxy or for the other: what
/// tells them apart is their name.
struct Ours<'a> {
    injector: &'a str,
    templates: Vec<(&'a str, &'a str)>,
}

impl<'a> Ours<'a> {
    fn of(injector: &'a Called<Injector>, gateways: bool) -> Self {
        let all = injector.it.templates.iter();
        let templates = all
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .filter(|(name, text)| {
                text.contains(DRIVER) && name.to_lowercase().contains("gateway") == gateways
            })
            .collect();
        Self { injector: &injector.name, templates }
    }

    fn names(&self) -> String {
        self.templates.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    /// Whether one mounts the driver where proxies look: by the name of Istio's own volume, or at its path.
    fn reaches(&self) -> bool {
        self.templates.iter().any(|(_, text)| {
            text.contains("workload-socket") || text.contains("/run/secrets/workload-spiffe-uds")
        })
    }

    /// A template is text with actions in it, and YAML only when rendered.
    fn changes(&self, list: List) -> bool {
        let is_key = |line: &str| line.trim().strip_suffix(':') == Some(list.key());
        self.templates.iter().any(|(_, text)| text.lines().any(is_key))
    }

    fn elsewhere(&self, namespace: &str) -> Finding {
        Finding::problem(
            format!(
                "the injection template {} mounts {DRIVER}, but not at \
                 /run/secrets/workload-spiffe-uds, where proxies look",
                self.names()
            ),
            format!("kubectl get configmap {} -n {namespace} -o yaml", self.injector),
        )
    }
}

fn for_sidecars(ours: &Ours<'_>, list: Option<List>, namespace: &str) -> Finding {
    if ours.templates.is_empty() {
        return Finding::problem(
            format!("no injection template for sidecars mounts {DRIVER}"),
            install(list),
        );
    }
    let names = ours.names();
    if !ours.reaches() {
        return ours.elsewhere(namespace);
    }
    let Some(list) = list else {
        return Finding::well(format!("the injection template {names} mounts {DRIVER}"));
    };
    if ours.changes(list) {
        return Finding::well(format!(
            "the injection template {names} mounts {DRIVER} in {}, where this Istio puts sidecars",
            list.key()
        ));
    }
    Finding::problem(
        format!(
            "the injection template {names} does not change {}, where this Istio puts sidecars: pods \
             are refused, or stay without the socket",
            list.key()
        ),
        install(Some(list)),
    )
}

/// A gateway's proxy is a container like any other, whatever sidecars are. Istio's own template mounts the
/// volume in it, so that ours need not.
fn for_gateways(ours: &Ours<'_>, namespace: &str) -> Finding {
    let names = ours.names();
    if !ours.reaches() {
        return ours.elsewhere(namespace);
    }
    if ours.changes(List::Native) && !ours.changes(List::Plain) {
        return Finding::problem(
            format!(
                "the injection template {names} changes {}, and gateways have their proxy in {}: their \
                 pods are refused",
                List::Native.key(),
                List::Plain.key()
            ),
            install(None),
        );
    }
    Finding::well(format!("the injection template {names} mounts {DRIVER} for gateways"))
}

fn install(list: Option<List>) -> String {
    let file = match list {
        Some(List::Plain) => "container-sidecar",
        Some(List::Native) | None => "native-sidecar",
    };
    format!(
        "istioctl install -y -f charts/istio/{file}.yaml --set meshConfig.trustDomain=<trust domain>"
    )
}

impl List {
    const fn key(self) -> &'static str {
        match self {
            Self::Native => "initContainers",
            Self::Plain => "containers",
        }
    }
}

/// Where this istiod has sidecars; `None` when its version does not tell.
fn list_of(pilot: &Workload, nodes: &[Node]) -> Option<List> {
    let containers = &pilot.spec.template.spec.containers;
    let discovery = containers.iter().find(|container| container.name == "discovery")?;
    let told = discovery.env.iter().find(|of| of.name == "ENABLE_NATIVE_SIDECARS");
    match told.map(|of| of.value.as_str()) {
        Some("true") => return Some(List::Native),
        Some("false") => return Some(List::Plain),
        _ => {}
    }
    let tag = discovery.image.rsplit_once(':').map(|(_, tag)| tag)?;
    let is_auto = minor(tag)? >= 27;
    let mut kubelets = nodes.iter().map(|node| &node.status.node_info.kubelet_version).peekable();
    kubelets.peek()?;
    let are_new = kubelets.all(|version| minor(version).is_some_and(|minor| minor >= 33));
    Some(if is_auto && are_new { List::Native } else { List::Plain })
}

/// The `33` of `v1.33.2-eks`.
fn minor(version: &str) -> Option<u32> {
    let rest = version.trim_start_matches('v').strip_prefix("1.")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}
