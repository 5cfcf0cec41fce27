//! Every right that the charts give to a service account, held against what the account asks of the API server:
//! one that is never asked for is too much, one that is refused is missing.

use crate::{
    charts::{self, CLIENT_ID},
    cluster::{self, Cluster, within},
    quick_start::{CLIENT, fetch},
};
use record::{asked, spelled};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    thread,
    time::Duration,
};
use tokio::time::Instant;

mod record;

/// Everything on that costs a right, and a pod that keeps nothing.
const SETTINGS: &str = "--set spire-server.persistence.type=emptyDir \
    --set spire-server.keyManager.kubernetesSecret.enabled=true \
    --set spire-server.controllerManager.leaderElection.enabled=true";

/// An object of each kind, so that each status is written; one asks for the names of Services, and one that
/// says it is the chart's passes the webhook with a template that is none, and so has an Event.
const OBJECTS: &str = r#"
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterSPIFFEID
metadata: {name: labelled}
spec:
  spiffeIDTemplate: "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}"
  podSelector: {matchLabels: {spiffe.io/spire-managed-identity: "true"}}
  autoPopulateDNSNames: true
---
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterSPIFFEID
metadata: {name: wrong, labels: {spire.spiffe.io/declared-by: chart}}
spec: {spiffeIDTemplate: "spiffe://{{ .TrustDomain"}
---
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterStaticEntry
metadata: {name: database}
spec:
  spiffeID: spiffe://foo.com/database
  parentID: spiffe://foo.com/spire/server
  selectors: [unix:uid:70]
---
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterFederatedTrustDomain
metadata: {name: neighbour}
spec:
  trustDomain: neighbour.example
  bundleEndpointURL: https://neighbour.example/bundle
  bundleEndpointProfile: {type: https_web}
"#;

/// A Service of the client's, for an EndpointSlice.
const SERVICE: &str = r"
apiVersion: v1
kind: Service
metadata: {name: client}
spec: {selector: {app: client}, ports: [{port: 80}]}
";

const NAMESPACE: &str = "spire-server";

/// A verb on a resource, or on one object, in a namespace or in all of them.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    /// `None`: in the whole cluster.
    namespace: Option<String>,
    /// As `pods`, `leases.coordination.k8s.io` or `nodes/pods`.
    resource: String,
    /// `None`: every one.
    name: Option<String>,
    verb: String,
}

/// A sentence for each right that is asked for and not granted, and the reverse.
#[derive(Default)]
struct Differences {
    missing: Vec<String>,
    needless: Vec<String>,
}

/// How long after its effect a request may be put on record.
const ON_RECORD: Duration = Duration::from_secs(5);

#[test]
fn no_account_may_more_or_less_than_it_asks_for() {
    let cluster = Cluster::up(&[]);
    let done = catch_unwind(AssertUnwindSafe(|| everything_that_takes_a_right(&cluster)));
    let Differences { missing, needless } = differences_at_last(&cluster);
    // First, for what waited in vain for the effect of a right does not know the right.
    assert!(missing.is_empty(), "{missing:#?}");
    done.unwrap_or_else(|panic| resume_unwind(panic));
    assert!(needless.is_empty(), "{needless:#?}");
}

fn everything_that_takes_a_right(cluster: &Cluster) {
    charts::install(cluster, SETTINGS);
    cluster.declare(OBJECTS);
    cluster.apply(&[CLIENT, SERVICE].join("---"));
    within(Duration::from_secs(60), "the pod's identity", || {
        fetch(cluster).ok().filter(|id| id == CLIENT_ID)
    });
    within(Duration::from_secs(20), "the name of the pod's Service", || {
        shown(cluster, "entry show").contains(": client.default.svc").then_some(())
    });
    every_object_has_a_status(cluster);
    let bundle = shown(cluster, "bundle show");
    cluster.kubectl(&["delete", "pod", "-n", NAMESPACE, "spire-server-0"]);
    cluster.rolled_out(NAMESPACE, "statefulset/spire-server");
    assert_eq!(shown(cluster, "bundle show"), bundle, "the Secret has the authority");
    the_lease_is_renewed(cluster);
}

/// What `spire-server` says in the server's pod.
fn shown(cluster: &Cluster, arguments: &str) -> String {
    cluster.shell(&format!(
        "kubectl exec -n {NAMESPACE} spire-server-0 -c spire-server -- spire-server {arguments}"
    ))
}

fn every_object_has_a_status(cluster: &Cluster) {
    for object in [
        "clusterspiffeid/labelled",
        "clusterspiffeid/wrong",
        "clusterstaticentry/database",
        "clusterfederatedtrustdomain/neighbour",
    ] {
        within(Duration::from_secs(20), "a status", || {
            cluster.object(&[object])["status"]["conditions"][0].is_object().then_some(())
        });
    }
    within(Duration::from_secs(20), "the Event of what does not work", || {
        let about = "involvedObject.name=wrong";
        let events = cluster.object(&["events", "-n", "default", "--field-selector", about]);
        (events["items"][0]["reason"] == "Invalid").then_some(())
    });
}

fn the_lease_is_renewed(cluster: &Cluster) {
    let renewed = || cluster.object(&["lease", "-n", NAMESPACE])["items"][0]["spec"].take();
    let before = renewed();
    within(Duration::from_secs(20), "another renewal of the lease", || {
        let now = renewed();
        let is_held = now["holderIdentity"].as_str().is_some_and(|holder| !holder.is_empty());
        (is_held && now["renewTime"] != before["renewTime"]).then_some(())
    });
}

fn differences_at_last(cluster: &Cluster) -> Differences {
    let started = Instant::now();
    loop {
        let found = Differences::now(cluster);
        let is_settled = found.missing.is_empty() && found.needless.is_empty();
        if is_settled || started.elapsed() > ON_RECORD {
            return found;
        }
        thread::sleep(cluster::LOOK_EVERY);
    }
}

impl Differences {
    fn now(cluster: &Cluster) -> Self {
        let mut asked = asked(cluster, NAMESPACE);
        let mut found = Self::default();
        for (account, rights) in granted(cluster) {
            let asked = asked.remove(&account).unwrap_or_default();
            let missing = asked.iter().filter(|asked| !rights.iter().any(|r| r.allows(asked)));
            let needless = rights.iter().filter(|right| !asked.iter().any(|a| right.allows(a)));
            found.missing.extend(missing.map(|right| format!("{account} may not {right}")));
            found.needless.extend(needless.map(|right| format!("{account} need not {right}")));
        }
        found
    }
}

/// What the roles in the cluster let each account of the namespace do.
fn granted(cluster: &Cluster) -> BTreeMap<String, BTreeSet<Right>> {
    let accounts = cluster.object(&["serviceaccounts", "-n", NAMESPACE]);
    let names = list(&accounts["items"]).map(|account| text(&account["metadata"]["name"]));
    let mut granted: BTreeMap<_, _> = names.map(|name| (name, BTreeSet::new())).collect();
    let bindings = cluster.object(&["clusterrolebindings,rolebindings", "-A"]);
    let roles = cluster.object(&["clusterroles,roles", "-A"]);
    for binding in list(&bindings["items"]) {
        let subjects = list(&binding["subjects"])
            .filter(|who| who["kind"] == "ServiceAccount" && who["namespace"] == NAMESPACE);
        for subject in subjects {
            let role = list(&roles["items"]).find(|role| is_bound(role, binding)).expect("a role");
            let place = binding["metadata"]["namespace"].as_str();
            let rights = granted.get_mut(subject["name"].as_str().unwrap()).expect("an account");
            list(&role["rules"]).for_each(|rule| spell(rule, place, rights));
        }
    }
    granted
}

fn is_bound(role: &Value, binding: &Value) -> bool {
    let wanted = &binding["roleRef"];
    role["kind"] == wanted["kind"]
        && role["metadata"]["name"] == wanted["name"]
        && (role["kind"] == "ClusterRole"
            || role["metadata"]["namespace"] == binding["metadata"]["namespace"])
}

/// One right for each verb, resource and name of a rule.
fn spell(rule: &Value, namespace: Option<&str>, rights: &mut BTreeSet<Right>) {
    let names: Vec<_> = list(&rule["resourceNames"]).map(|name| Some(text(name))).collect();
    let names = if names.is_empty() { vec![None] } else { names };
    for group in list(&rule["apiGroups"]).map(text) {
        for resource in list(&rule["resources"]).map(text) {
            for (name, verb) in
                names.iter().flat_map(|name| list(&rule["verbs"]).map(move |verb| (name, verb)))
            {
                rights.insert(Right {
                    namespace: namespace.map(str::to_owned),
                    resource: spelled(&resource, &group),
                    name: name.clone(),
                    verb: text(verb),
                });
            }
        }
    }
}

impl Right {
    fn allows(&self, asked: &Self) -> bool {
        let Self { namespace, resource, name, verb } = asked;
        self.namespace.as_ref().is_none_or(|own| Some(own) == namespace.as_ref())
            && self.name.as_ref().is_none_or(|own| Some(own) == name.as_ref())
            && (&self.resource, &self.verb) == (resource, verb)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, resource, name, verb } = self;
        write!(f, "{verb} {resource}")?;
        if let Some(name) = name {
            write!(f, " of the name {name}")?;
        }
        write!(f, " in {}", namespace.as_deref().unwrap_or("the cluster"))
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
