//! Writes statuses and Events. The board holds the latest report of each object, so a storm of changes is
//! one write; what is written already is not written again.
//!
//! Nothing waits for this task: a status that cannot be written is tried again and told once.

use super::{
    events::Events,
    place::{Place, resource},
    report::{Ready, Report},
};
use crate::{
    controller::lease::Role,
    k8s::{Fault, KubeClient, KubeError},
    runtime::{Backoff, Clock, Reader, Shutdown, bell::Bell},
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::time::sleep;

/// The latest report of each object that is not written yet. Clones share it.
#[derive(Clone, Debug, Default)]
pub(in crate::controller) struct StatusBoard(Arc<Board>);

#[derive(Debug, Default)]
struct Board {
    news: Mutex<News>,
    bell: Bell,
}

/// What was put on a board since it was read.
#[derive(Debug, Default)]
struct News {
    /// Nothing for an object that is gone.
    reports: BTreeMap<Place, Option<Report>>,
    /// Whether what the objects say now is another's doing.
    is_anew: bool,
}

/// Writes what is on a board.
pub(in crate::controller) struct StatusWriter {
    pub(in crate::controller) kube: KubeClient,
    pub(in crate::controller) board: StatusBoard,
    /// Only who leads writes.
    pub(in crate::controller) role: Reader<Role>,
    pub(in crate::controller) clock: Clock,
    /// Who says so, in Events.
    pub(in crate::controller) identity: String,
    pub(in crate::controller) shutdown: Shutdown,
}

/// What was written of an object.
struct Written {
    report: Report,
    condition: Condition,
    /// For Events.
    uid: Option<String>,
}

/// A count that moves with each pod is written once in this time.
const WRITE_EVERY: Duration = Duration::from_secs(1);
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(60);

impl StatusBoard {
    /// Puts a report in the place of the one that was there.
    pub(in crate::controller) fn put(&self, place: Place, report: Report) {
        self.0.news.lock().reports.insert(place, Some(report));
        self.0.bell.ring();
    }

    /// The object is gone.
    pub(in crate::controller) fn remove(&self, place: Place) {
        self.0.news.lock().reports.insert(place, None);
        self.0.bell.ring();
    }

    /// Others may have written: what was written until now is looked at again when it is reported next.
    pub(in crate::controller) fn begin_anew(&self) {
        self.0.news.lock().is_anew = true;
    }

    fn take(&self) -> News {
        std::mem::take(&mut *self.0.news.lock())
    }

    /// Puts reports back that could not be written, unless there are later ones.
    fn put_back(&self, reports: BTreeMap<Place, Report>) {
        let mut later = self.0.news.lock();
        for (place, report) in reports {
            later.reports.entry(place).or_insert(Some(report));
        }
        self.0.bell.ring();
    }
}

impl StatusWriter {
    /// Writes until the end of the program.
    pub(in crate::controller) async fn run(mut self) {
        let mut written: HashMap<Place, Written> = HashMap::new();
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LAST);
        let (mut told, mut events) = (None, Events::new(self.kube.clone(), self.identity.clone()));
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.requested() => return,
                () = self.board.0.bell.heard() => {}
            }
            tokio::select! {
                biased;
                () = self.shutdown.requested() => return,
                role = self.role.wait_for(|role| *role == Role::Leads) => if role.is_err() { return },
            }
            let mut failed = BTreeMap::new();
            let news = self.board.take();
            if news.is_anew {
                written.clear();
            }
            for (place, report) in news.reports {
                let Some(report) = report else {
                    written.remove(&place);
                    continue;
                };
                if written.get(&place).is_some_and(|written| written.report == report) {
                    continue;
                }
                match self.write(&place, &report, &mut written, &mut events).await {
                    Ok(()) => {}
                    // Deleted meanwhile.
                    Err(error) if error.fault() == Fault::Missing => {
                        written.remove(&place);
                    }
                    Err(error) => {
                        let error = error.to_string();
                        if told.as_ref() != Some(&error) {
                            let (kind, name) = &place;
                            tracing::warn!(kind, %name, error, "status not written");
                            told = Some(error);
                        }
                        failed.insert(place, report);
                    }
                }
            }
            let wait = if failed.is_empty() {
                backoff.reset();
                told = None;
                WRITE_EVERY
            } else {
                self.board.put_back(failed);
                backoff.next_delay()
            };
            tokio::select! {
                biased;
                () = self.shutdown.requested() => return,
                () = sleep(wait) => {}
            }
        }
    }

    async fn write(
        &self,
        place: &Place,
        report: &Report,
        written: &mut HashMap<Place, Written>,
        events: &mut Events,
    ) -> Result<(), KubeError> {
        let (before, uid) = match written.get(place) {
            Some(written) => (Some(written.condition.clone()), written.uid.clone()),
            None => self.read(place).await?,
        };
        let now = Timestamp::try_from(self.clock.now()).unwrap_or_default();
        let condition = report.condition(before.as_ref(), now);
        let mut status = report.fields.clone();
        status.insert("conditions".to_owned(), json!([condition]));
        let patch = json!({"status": status});
        let (resource, name) = (resource(place.0), Arc::clone(&place.1));
        self.kube
            .call(async move |client| {
                let api = Api::<DynamicObject>::all_with(client, &resource);
                api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch)).await
            })
            .await?;
        let is_news = before.is_none_or(|before| {
            (before.reason.as_str(), before.message.as_str())
                != (condition.reason.as_str(), condition.message.as_str())
        });
        if let Ready::No { .. } = report.ready
            && is_news
        {
            events.write(place, uid.clone(), &condition, now).await;
        }
        let written_now = Written { report: report.clone(), condition, uid };
        written.insert(place.clone(), written_now);
        Ok(())
    }

    /// The `Ready` condition that the object has, and its UID.
    async fn read(&self, place: &Place) -> Result<(Option<Condition>, Option<String>), KubeError> {
        let (resource, name) = (resource(place.0), Arc::clone(&place.1));
        let object = self
            .kube
            .call(async move |client| {
                Api::<DynamicObject>::all_with(client, &resource).get(&name).await
            })
            .await?;
        let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
        let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
        let ready = ready.and_then(|ready| serde_json::from_value(ready.clone()).ok());
        Ok((ready, object.metadata.uid))
    }
}
