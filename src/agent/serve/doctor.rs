//! What the agent knows of one process, for an operator who asks why it has no identity.
//!
//! The process is attested as a caller would be, by the attestors that attest callers, so that what is said
//! here is what happens there. Nothing is changed by it. Served on the admin socket only.

use super::caller::Serving;
use crate::{
    agent::{
        cache::CacheSnapshot,
        upkeep::Insight,
        workload::{cgroup::Container, process::cgroup_file},
    },
    runtime::{clock::unix_secs, complaint::with_causes},
    spiffe::{Entry, SelectorSet},
    transport::{peer::PeerCred, status::Kind},
    wire::proto::finial::agent::debug::v1::{
        Examination, ExamineRequest, NearEntry, UnansweredName, doctor_server::Doctor,
    },
};
use std::{cmp::Reverse, collections::HashMap, sync::Arc, time::Duration};
use tokio::time::timeout;
use tonic::{Request, Response, Status};

/// Answers from what is in memory, and what the attestors say now.
pub(super) struct DoctorService {
    pub(super) serving: Arc<Serving>,
    pub(super) insight: Insight,
}

/// Enough to see what is amiss, and few enough to read.
const MOST_ENTRIES: usize = 20;
const NEAREST: usize = 5;
/// Longer waits only who waits for a container that the kubelet does not list yet.
const WITHIN: Duration = Duration::from_secs(10);

#[tonic::async_trait]
impl Doctor for DoctorService {
    async fn examine(
        &self,
        request: Request<ExamineRequest>,
    ) -> Result<Response<Examination>, Status> {
        let pid = request.get_ref().pid;
        let peer = PeerCred::of_process(pid)
            .map_err(|error| Kind::NotFound.status(with_causes(&error)))?;
        let (selectors, attestation_error) =
            match timeout(WITHIN, self.serving.attestor.attest(&peer)).await {
                Ok(Ok(selectors)) => (selectors, String::new()),
                Ok(Err(error)) => (SelectorSet::default(), with_causes(&error)),
                Err(_) => {
                    let text = "the kubelet does not list its container yet; its streams wait";
                    (SelectorSet::default(), text.to_owned())
                }
            };
        let container = container(pid);
        let snapshot = self.serving.cache.snapshot();
        let callers = self.serving.callers.of(pid);
        let mut unanswered: Vec<_> = callers
            .iter()
            .flat_map(|caller| caller.questions.all())
            .map(|question| UnansweredName {
                name: question.name.to_string(),
                foreign: question.is_foreign,
            })
            .collect();
        unanswered.sort_by(|a, b| a.name.cmp(&b.name));
        unanswered.dedup();
        let standing = self.insight.identity.standing().current();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Response::new(Examination {
            pid,
            pod_uid: container
                .as_ref()
                .and_then(|container| container.pod.as_ref())
                .map(ToString::to_string)
                .unwrap_or_default(),
            container_id: container.map(|container| container.id.to_string()).unwrap_or_default(),
            entries: nearest(&snapshot, &selectors),
            selectors: selectors.as_slice().iter().map(ToString::to_string).collect(),
            attestation_error,
            known_entries: count(snapshot.entries.len()),
            connections: count(callers.len()),
            unanswered,
            refuses: callers.iter().any(|caller| caller.is_refusing()),
            agent_id: standing.svid().map(|svid| svid.id().to_string()).unwrap_or_default(),
            synced: self.serving.cache.is_synced(),
        }))
    }
}

/// Where the process runs, as the attestor sees it; what it cannot read, it has complained of.
fn container(pid: i32) -> Option<Container> {
    let theirs = cgroup_file(pid.unsigned_abs()).ok()?;
    let own = cgroup_file(std::process::id()).unwrap_or_default();
    Container::locate(&theirs, &own).ok()?
}

/// The entries that match, then those that lack least and have something in common with the process.
fn nearest(snapshot: &CacheSnapshot, selectors: &SelectorSet) -> Vec<NearEntry> {
    let ends: HashMap<_, _> = snapshot
        .svids
        .iter()
        .map(|stored| (&stored.entry.id, unix_secs(stored.svid.not_after())))
        .collect();
    let mut measured: Vec<_> = snapshot
        .entries
        .iter()
        .map(|entry| (missing(entry, selectors), entry))
        .filter(|(missing, entry)| missing.len() < entry.spec.selectors.len())
        .collect();
    measured.sort_by_key(|(missing, entry)| {
        let shared = entry.spec.selectors.len().saturating_sub(missing.len());
        (missing.len(), Reverse(shared), entry.spec.spiffe_id.to_string())
    });
    let matching = measured.iter().filter(|(missing, _)| missing.is_empty()).count();
    measured.truncate((matching + NEAREST).min(MOST_ENTRIES));
    measured
        .into_iter()
        .map(|(missing_selectors, entry)| NearEntry {
            id: entry.id.to_string(),
            spiffe_id: entry.spec.spiffe_id.to_string(),
            missing_selectors,
            svid_expires_at: ends.get(&entry.id).copied().unwrap_or_default(),
        })
        .collect()
}

fn missing(entry: &Entry, selectors: &SelectorSet) -> Vec<String> {
    let wanted = entry.spec.selectors.as_slice().iter();
    wanted.filter(|wanted| !selectors.contains(wanted)).map(ToString::to_string).collect()
}
