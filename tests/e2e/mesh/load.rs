//! Requests from one meshed pod to another, all the time, each counted: the client's program is asked from the
//! node to ask the server through both sidecars.

use super::{address, serial};
use crate::cluster::{Cluster, within};
use std::{fs, path::PathBuf, time::Duration};

/// Renewal is due at half of an SVID's life, with jitter; one that was due in an outage is renewed after it.
const RENEWED_WITHIN: Duration = Duration::from_secs(2 * super::SVID_SECS);
/// How many requests the client is asked for in one go. One that fails is told with those beside it.
const AT_ONCE: usize = 5;
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
    /// When something else came, in milliseconds, and what.
    pub(crate) failed: Vec<(u64, String)>,
}

impl Load {
    /// Starts it; when this returns, a request has been answered.
    pub(crate) fn start(cluster: &Cluster, client: &str, server: &str) -> Self {
        let ip = address(cluster, "mesh", client);
        let path = "dial?protocol=http&request=hostname&host=server.mesh.svc.cluster.local&port=80";
        cluster.shell(&format!(
            "touch $RUN/{GOING}
            (while [ -e $RUN/{GOING} ]; do
                printf '%s ' $(date +%s%3N)
                curl -s -m 10 'http://{ip}:8080/{path}&tries={AT_ONCE}' ||
                    printf 'the client is not to be asked: curl %s' $?
                echo
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
        let responses = vec![format!("\"{}\"", self.server); AT_ONCE].join(",");
        let expected = format!("{{\"responses\":[{responses}]}}");
        let answers = whole.lines().filter_map(|line| line.split_once(' '));
        let (good, bad): (Vec<_>, Vec<_>) = answers.partition(|(_, answer)| *answer == expected);
        let failed = bad.into_iter().map(|(at, what)| (at.parse().unwrap(), what.to_owned()));
        Seen { answered: good.len() * AT_ONCE, failed: failed.collect() }
    }
}

impl Seen {
    /// Nothing failed.
    #[track_caller]
    pub(crate) fn assert_faultless(&self) {
        assert_eq!(self.failed, [], "beside {} that were answered", self.answered);
        eprintln!("{} requests, none failed", self.answered);
    }

    /// How long requests failed: from the first that did to the last.
    pub(crate) fn failing_for(&self) -> Duration {
        let times = || self.failed.iter().map(|(at, _)| *at);
        Duration::from_millis(times().max().unwrap_or(0) - times().min().unwrap_or(0))
    }
}
