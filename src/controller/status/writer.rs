//! Writes statuses and Events. The board holds the latest report of each object, so a storm of changes is
//! one write; what is written already is not written again.
//!
//! Nothing waits for this task: a status that cannot be written is tried again and told once.

use super::report::{Ready, Report};
use crate::{
    controller::lease::Role,
    k8s::{Fault, KubeClient, KubeError},
    runtime::{Backoff, Clock, Reader, Shutdown, bell::Bell},
};
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::time::sleep;

/// An object: its kind and its name.
pub(in crate::controller) type Place = (&'static str, Arc<str>);

/// The latest report of each object that is not written yet. Clones share it.
#[derive(Clone, Debug, Default)]
pub(in crate::controller) struct StatusBoard(Arc<Board>);

#[derive(Debug, Default)]
struct Board {
    reports: Mutex<BTreeMap<Place, Report>>,
    bell: Bell,
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
/// Events about objects without namespace stand here.
const EVENT_NAMESPACE: &str = "default";
const REPORTER: &str = "spire-controller-manager";
const GROUP: &str = "spire.spiffe.io";
const VERSION: &str = "v1alpha1";

impl StatusBoard {
    /// Puts a report in the place of the one that was there.
    pub(in crate::controller) fn put(&self, place: Place, report: Report) {
        self.0.reports.lock().insert(place, report);
        self.0.bell.ring();
    }

    /// The object is gone.
    pub(in crate::controller) fn remove(&self, place: &Place) {
        self.0.reports.lock().remove(place);
    }

    fn take(&self) -> BTreeMap<Place, Report> {
        std::mem::take(&mut *self.0.reports.lock())
    }

    /// Puts reports back that could not be written, unless there are later ones.
    fn put_back(&self, reports: BTreeMap<Place, Report>) {
        let mut later = self.0.reports.lock();
        for (place, report) in reports {
            later.entry(place).or_insert(report);
        }
        self.0.bell.ring();
    }
}

impl StatusWriter {
    /// Writes until the end of the program.
    pub(in crate::controller) async fn run(mut self) {
        let mut written: HashMap<Place, Written> = HashMap::new();
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LAST);
        let (mut told, mut events) = (None, Events::Written);
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
            for (place, report) in self.board.take() {
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
            events.write(self, place, uid.clone(), &condition, now).await;
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

/// Whether Events may be written.
enum Events {
    Written,
    /// The service account may not: told once, not tried again.
    Refused,
}

impl Events {
    async fn write(
        &mut self,
        writer: &StatusWriter,
        (kind, name): &Place,
        uid: Option<String>,
        condition: &Condition,
        now: Timestamp,
    ) {
        if let Self::Refused = self {
            return;
        }
        let event = Event {
            metadata: ObjectMeta {
                generate_name: Some(format!("{name}.")),
                namespace: Some(EVENT_NAMESPACE.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(format!("{GROUP}/{VERSION}")),
                kind: Some((*kind).to_owned()),
                name: Some(name.to_string()),
                uid,
                ..ObjectReference::default()
            },
            type_: Some("Warning".to_owned()),
            reason: Some(condition.reason.clone()),
            message: Some(condition.message.clone()),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            source: Some(EventSource {
                component: Some(REPORTER.to_owned()),
                host: Some(writer.identity.clone()),
            }),
            ..Event::default()
        };
        let written = writer
            .kube
            .call(async move |client| {
                let api = Api::<Event>::namespaced(client, EVENT_NAMESPACE);
                api.create(&PostParams::default(), &event).await
            })
            .await;
        match written {
            Ok(_) => {}
            Err(KubeError::Answer(status)) if status.code == 403 => {
                tracing::warn!(
                    error = status.message,
                    "no Events are written: the conditions say it"
                );
                *self = Self::Refused;
            }
            Err(error) => tracing::debug!(%error, "an Event was not written"),
        }
    }
}

fn resource(kind: &str) -> ApiResource {
    let lower = kind.to_lowercase();
    let plural = match lower.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{lower}s"),
    };
    ApiResource {
        group: GROUP.to_owned(),
        version: VERSION.to_owned(),
        api_version: format!("{GROUP}/{VERSION}"),
        kind: kind.to_owned(),
        plural,
    }
}
