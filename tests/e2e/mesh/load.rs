//! Requests from one meshed pod to another, all the time, each counted: the client's program is asked from the
//! node to ask the server through both sidecars.

use super::{address, serial};
use crate::cluster::{Cluster, within};
use std::{fs, path::PathBuf, time::Duration};

/// Renewal is due at half of an SVID's life, with jitter; one that was due in an outage is renewed after it.
const RENEWED_WITHIN: Duration = Duration::from_secs(2 * super::SVID_SECS);
/// Its answers are written to this file in the cluster's folder, a line for each.
const ANSWERS: &str = "answers";
/// It runs as long as there is this file.
const GOING: &str = "load";

/// A load that runs.
#[derive(Debug)]
#[must_use = "a load runs until it is stopped"]
pub(crate) struct Load {
    server: String,
    answers: PathBuf,
}

/// What became of the requests.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Those that the server answered.
    pub(crate) answered: usize,
    /// What came instead, for each that it did not.
    pub(crate) failed: Vec<String>,
}

impl Load {
    /// Starts it; when this returns, a request has been answered.
    pub(crate) fn start(cluster: &Cluster, client: &str, server: &str) -> Self {
        let ip = address(cluster, "mesh", client);
        let path = "dial?protocol=http&request=hostname&host=server.mesh.svc.cluster.local&port=80&tries=1";
        cluster.shell(&format!(
            "touch $RUN/{GOING}
            (while [ -e $RUN/{GOING} ]; do
                curl -s -m 10 -w '\\n' 'http://{ip}:8080/{path}' || echo \"client: curl $?\"
                sleep 0.02
            done) >$RUN/{ANSWERS} 2>&1 </dev/null &"
        ));
        let load = Self { server: server.to_owned(), answers: cluster.file(ANSWERS) };
        within(Duration::from_secs(10), "the first answer", || {
            (load.seen().answered > 0).then_some(())
        });
        load
    }

    /// Waits until each of these pods presents another certificate than the one with this serial number.
    pub(crate) fn until_renewed(&self, cluster: &Cluster, before: &[(&str, &str)]) {
        for (pod, old) in before {
            within(RENEWED_WITHIN, "another certificate", || {
                (serial(cluster, "mesh", pod) != *old).then_some(())
            });
        }
        self.until_more();
    }

    /// Waits for another twenty answers.
    pub(crate) fn until_more(&self) {
        let enough = self.seen().answered + 20;
        within(Duration::from_secs(60), "twenty more answers", || {
            (self.seen().answered >= enough).then_some(())
        });
    }

    /// Ends it, and tells what it saw.
    pub(crate) fn stop(self, cluster: &Cluster) -> Seen {
        cluster.shell(&format!("rm $RUN/{GOING}"));
        self.seen()
    }

    /// What it has seen until now.
    pub(crate) fn seen(&self) -> Seen {
        let text = self.answers.exists().then(|| fs::read_to_string(&self.answers).unwrap());
        let text = text.unwrap_or_default();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let expected = format!("{{\"responses\":[\"{}\"]}}", self.server);
        let answers = whole.lines().filter(|line| !line.is_empty());
        let (good, bad): (Vec<&str>, Vec<&str>) = answers.partition(|line| *line == expected);
        Seen { answered: good.len(), failed: bad.into_iter().map(str::to_owned).collect() }
    }
}

impl Seen {
    /// Nothing failed.
    #[track_caller]
    pub(crate) fn assert_faultless(&self) {
        let Self { answered, failed } = self;
        assert!(
            failed.is_empty(),
            "{} of {} failed: {failed:#?}",
            failed.len(),
            answered + failed.len()
        );
        eprintln!("{answered} requests, none failed");
    }
}
