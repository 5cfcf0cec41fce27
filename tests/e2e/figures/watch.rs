//! When the API server showed what of the pods of a namespace, on the node's clock.

use crate::cluster::Cluster;
use std::{fs, path::PathBuf};

/// A watch that goes on until the cluster ends.
pub(super) struct PodWatch(PathBuf);

/// A pod as it was shown once.
struct Sighting {
    /// Seconds of the epoch.
    at: f64,
    pod: String,
    ip: String,
    is_ready: bool,
}

impl PodWatch {
    /// Begins with the pods that there are.
    pub(super) fn start(cluster: &Cluster, namespace: &str) -> Self {
        let name = format!("pods-{namespace}");
        cluster.shell(&format!(
            r#"(kubectl get pods -n {namespace} --watch -o jsonpath='{{.metadata.name}},{{.status.podIP}},{{.status.conditions[?(@.type=="Ready")].status}}{{"\n"}}' |
            while read -r line; do echo "$EPOCHREALTIME,$line"; done) >$RUN/{name} 2>&1 </dev/null &"#
        ));
        Self(cluster.file(&name))
    }

    /// When the pod was first shown.
    #[track_caller]
    pub(super) fn created(&self, pod: &str) -> f64 {
        self.first(pod, |_| true).unwrap_or_else(|| panic!("{pod} was never shown"))
    }

    /// When the pod was first shown with an address.
    #[track_caller]
    pub(super) fn addressed(&self, pod: &str) -> f64 {
        self.first(pod, |seen| !seen.ip.is_empty())
            .unwrap_or_else(|| panic!("{pod} has no address"))
    }

    /// When the pod was first shown as ready, if it was.
    pub(super) fn ready(&self, pod: &str) -> Option<f64> {
        self.first(pod, |seen| seen.is_ready)
    }

    fn first(&self, pod: &str, accept: impl Fn(&Sighting) -> bool) -> Option<f64> {
        let text = fs::read_to_string(&self.0).unwrap();
        let mut sightings = text.lines().filter_map(sighting);
        sightings.find(|seen| seen.pod == pod && accept(seen)).map(|seen| seen.at)
    }
}

/// A line, unless it is only half written.
fn sighting(line: &str) -> Option<Sighting> {
    let mut cells = line.split(',');
    let at = cells.next()?.parse().ok()?;
    let (pod, ip) = (cells.next()?.to_owned(), cells.next()?.to_owned());
    Some(Sighting { at, pod, ip, is_ready: cells.next()? == "True" })
}
