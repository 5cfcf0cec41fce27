//! A pod with an identity of finial's is ready hardly later than the same pod with one of istiod's.

use super::{is_judged, judge, percentile, steal::Steal, watch::PodWatch};
use crate::{
    cluster::{Cluster, within},
    mesh,
};
use std::time::Duration;

/// How much later one pod may be ready, and the last of many that start at once.
const ONE_SECS: f64 = 0.5;
const MANY_SECS: f64 = 1.0;

const AT_ONCE: usize = 20;
const READY_WITHIN: Duration = Duration::from_secs(180);

/// Whose identity a sidecar has.
#[derive(Clone, Copy, Debug)]
enum Signer {
    Istiod,
    Finial,
}

#[test]
fn a_pod_is_ready_as_soon_as_with_an_identity_of_istiods() {
    let cluster = Cluster::up(&["istio.tar"]);
    mesh::install_on_charts(&cluster, "");
    let meter = Meter { watch: PodWatch::start(&cluster, "mesh"), cluster };

    // Probes come each second: where the times are judged it is by the middle of several.
    let (ones, manys) = if is_judged() { (7, 5) } else { (1, 1) };
    let later = meter.compare("one", 1, ones);
    judge("a pod is ready later than with istiod's identity by", later, ONE_SECS);
    let later = meter.compare("many", AT_ONCE, manys);
    judge(&format!("the last of {AT_ONCE} at once is ready later by"), later, MANY_SECS);
}

struct Meter {
    cluster: Cluster,
    watch: PodWatch,
}

impl Meter {
    /// How much later the last of `count` pods is ready with finial's identities than with istiod's, in
    /// seconds: the middle of so many `rounds`, in which either has the first turn as often.
    fn compare(&self, name: &str, count: usize, rounds: usize) -> f64 {
        let round = |number: usize| {
            let name = format!("{name}-{number}");
            let steal = Steal::now();
            let measure = |signer| self.last_ready(signer, &name, count);
            let (istiods, finials) = if number.is_multiple_of(2) {
                let istiods = measure(Signer::Istiod);
                (istiods, measure(Signer::Finial))
            } else {
                let finials = measure(Signer::Finial);
                (measure(Signer::Istiod), finials)
            };
            eprintln!(
                "{name}: ready after {istiods:.2} s with istiod's, after {finials:.2} s with finial's, \
                 {:.0} % of the CPU stolen",
                steal.percent_since()
            );
            finials - istiods
        };
        percentile(&(0..rounds).map(round).collect::<Vec<_>>(), 50)
    }

    /// Makes pods and removes them, for the time from the first one's making until all are ready.
    fn last_ready(&self, signer: Signer, name: &str, count: usize) -> f64 {
        let name = format!("{name}-{}", format!("{signer:?}").to_lowercase());
        let names: Vec<String> = (0..count).map(|number| format!("{name}-{number}")).collect();
        let pods: Vec<String> = names.iter().map(|name| pod(name, signer)).collect();
        self.cluster.apply(&pods.join("---"));
        let ready = within(READY_WITHIN, "all pods ready", || {
            names.iter().map(|name| self.watch.ready(name)).collect::<Option<Vec<f64>>>()
        });
        names.iter().for_each(|name| self.is_signed_by(signer, name));
        let removed: Vec<&str> = ["delete", "pod", "-n", "mesh"]
            .into_iter()
            .chain(names.iter().map(String::as_str))
            .collect();
        self.cluster.kubectl(&removed);
        let created = names.iter().map(|name| self.watch.created(name));
        ready.into_iter().fold(0.0, f64::max) - created.fold(f64::INFINITY, f64::min)
    }

    /// Otherwise two of the same kind would be compared.
    fn is_signed_by(&self, signer: Signer, pod: &str) {
        let text = mesh::certificate(&self.cluster, "mesh", pod);
        let is_finials = text.contains("O = SPIRE");
        assert_eq!(is_finials, matches!(signer, Signer::Finial), "{pod}: {text}");
    }
}

fn pod(name: &str, signer: Signer) -> String {
    let (label, templates) = match signer {
        Signer::Istiod => ("", "sidecar"),
        Signer::Finial => (r#"spiffe.io/spire-managed-identity: "true""#, "sidecar,spire"),
    };
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: mesh
  labels: {{{label}}}
  annotations: {{inject.istio.io/templates: "{templates}"}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: localhost/agnhost:1
    args: [netexec, --http-port=8080]
    readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}
"#
    )
}
