//! Kubernetes Events about custom resources. Used by the status writer's task.

use super::place::{GROUP, Place, VERSION};
use crate::k8s::{KubeClient, KubeError};
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};

/// Events about objects without namespace stand here.
const EVENT_NAMESPACE: &str = "default";
const REPORTER: &str = "spire-controller-manager";

/// Writes Events.
pub(super) struct Events {
    kube: KubeClient,
    /// Who says so.
    identity: String,
    /// The service account may not: told once, not tried again.
    is_refused: bool,
}

impl Events {
    pub(super) const fn new(kube: KubeClient, identity: String) -> Self {
        Self { kube, identity, is_refused: false }
    }

    /// Says why an object does not work. Whoever waits for an Event waits in vain: it may get lost.
    pub(super) async fn write(
        &mut self,
        (kind, name): &Place,
        uid: Option<String>,
        condition: &Condition,
        now: Timestamp,
    ) {
        if self.is_refused {
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
                host: Some(self.identity.clone()),
            }),
            ..Event::default()
        };
        let written = self
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
                self.is_refused = true;
            }
            Err(error) => tracing::debug!(%error, "an Event was not written"),
        }
    }
}
