//! The pods of a node, as the kubelet lists them: of each the few fields that say who a container is.
//!
//! Reads what is there and passes over what is not: `null` for a list, a pod without a name. Knows
//! nothing of selectors and of how the list was fetched.

use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, HashMap};

/// A node's pods, found by UID or by a container's id.
#[derive(Debug, Default)]
pub struct PodList {
    pods: Vec<Pod>,
    by_uid: HashMap<String, usize>,
    /// Every pod in which a container of this id is listed.
    by_container: HashMap<String, Vec<usize>>,
}

/// One pod.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// What it is called and who made it.
    #[serde(deserialize_with = "or_default")]
    pub metadata: Metadata,
    /// What was wanted.
    #[serde(deserialize_with = "or_default")]
    pub spec: Spec,
    /// What there is.
    #[serde(deserialize_with = "or_default")]
    pub status: Status,
}

/// A pod's metadata.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    /// Its name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Its namespace.
    #[serde(deserialize_with = "or_default")]
    pub namespace: String,
    /// Its UID: a UUID, or for a static pod the hash of its configuration.
    #[serde(deserialize_with = "or_default")]
    pub uid: String,
    /// Its labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// What it belongs to.
    #[serde(deserialize_with = "or_default")]
    pub owner_references: Vec<OwnerReference>,
}

/// What a pod belongs to.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct OwnerReference {
    /// `ReplicaSet`, `Job` and so on.
    #[serde(deserialize_with = "or_default")]
    pub kind: String,
    /// Its name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Its UID.
    #[serde(deserialize_with = "or_default")]
    pub uid: String,
}

/// The part of a pod's specification that says who it is.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Spec {
    /// Its service account.
    #[serde(deserialize_with = "or_default")]
    pub service_account_name: String,
    /// Its node.
    #[serde(deserialize_with = "or_default")]
    pub node_name: String,
}

/// The three lists of a pod's containers.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    /// Those that run beside each other.
    #[serde(deserialize_with = "or_default")]
    pub container_statuses: Vec<ContainerStatus>,
    /// Those that run before, native sidecars among them.
    #[serde(deserialize_with = "or_default")]
    pub init_container_statuses: Vec<ContainerStatus>,
    /// Those that `kubectl debug` adds.
    #[serde(deserialize_with = "or_default")]
    pub ephemeral_container_statuses: Vec<ContainerStatus>,
}

/// One container.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerStatus {
    /// Its name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// The image's name as the runtime reports it.
    #[serde(deserialize_with = "or_default")]
    pub image: String,
    /// The image by its digest.
    #[serde(rename = "imageID", deserialize_with = "or_default")]
    pub image_id: String,
    /// `runtime://ID`; empty before it was first made.
    #[serde(rename = "containerID", deserialize_with = "or_default")]
    pub container_id: String,
    /// Whether it waits, runs or has ended.
    #[serde(deserialize_with = "or_default")]
    state: State,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct State {
    terminated: Option<serde::de::IgnoredAny>,
}

/// A container's id is listed in two pods.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two pods found with same container Id")]
pub struct TwoPods;

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "kind")]
    _kind: Kind,
    #[serde(default, deserialize_with = "or_default")]
    items: Vec<Option<Pod>>,
}

/// What the answer must be: anything else would be read as a node without pods.
#[derive(Deserialize)]
enum Kind {
    PodList,
}

/// `null` is as good as nothing: Go writes it for an empty list or map.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl PodList {
    /// Reads the kubelet's answer. A pod without UID is left out: nobody could be in it.
    ///
    /// # Errors
    /// When it is not the JSON of a pod list.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        let answer: Answer = serde_json::from_slice(json)?;
        let mut list = Self::default();
        let pods = answer.items.into_iter().flatten();
        for pod in pods.filter(|pod| !pod.metadata.uid.is_empty()) {
            let place = list.pods.len();
            for container in pod.status.all().filter(|container| container.is_current()) {
                if let Some(id) = container.id() {
                    list.by_container.entry(id.to_owned()).or_default().push(place);
                }
            }
            list.by_uid.insert(pod.metadata.uid.to_ascii_lowercase(), place);
            list.pods.push(pod);
        }
        Ok(list)
    }

    /// The pod with this UID.
    #[must_use]
    pub fn pod(&self, uid: &str) -> Option<&Pod> {
        self.by_uid.get(&uid.to_ascii_lowercase()).and_then(|place| self.pods.get(*place))
    }

    /// The pod in which a container with this id is.
    ///
    /// # Errors
    /// [`TwoPods`] when it is listed in more than one.
    pub fn pod_of_container(&self, id: &str) -> Result<Option<&Pod>, TwoPods> {
        match self.by_container.get(id).map_or(&[][..], Vec::as_slice) {
            [] => Ok(None),
            [place] => Ok(self.pods.get(*place)),
            [_, _, ..] => Err(TwoPods),
        }
    }

    /// How many pods there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.pods.len()
    }

    /// Whether there is no pod.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }
}

impl Status {
    fn all(&self) -> impl Iterator<Item = &ContainerStatus> {
        let lists = [
            &self.container_statuses,
            &self.init_container_statuses,
            &self.ephemeral_container_statuses,
        ];
        lists.into_iter().flatten()
    }

    /// The container with this id, whichever list it is in, unless it has ended (A-12).
    #[must_use]
    pub fn container(&self, id: &str) -> Option<&ContainerStatus> {
        self.all().find(|container| container.is_current() && container.id() == Some(id))
    }
}

impl ContainerStatus {
    /// The id without the runtime in front of it.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        let (_, id) = self.container_id.split_once("://")?;
        (!id.is_empty()).then_some(id)
    }

    const fn is_current(&self) -> bool {
        self.state.terminated.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(items: &Value) -> PodList {
        PodList::parse(json!({"kind": "PodList", "items": items}).to_string().as_bytes()).unwrap()
    }

    fn status(id: &str, state: &str) -> Value {
        json!({"name": "c", "containerID": id, "image": "web:1", "imageID": "web@sha256:1", "state": {state: {}}})
    }

    #[test]
    fn a_container_is_found_in_each_of_the_three_lists_unless_it_has_ended() {
        let list = parse(&json!([{
            "metadata": {"uid": "u1"},
            "status": {
                "containerStatuses": [status("containerd://a", "running"), status("containerd://dead", "terminated")],
                "initContainerStatuses": [status("cri-o://b", "running")],
                "ephemeralContainerStatuses": [status("docker://c", "waiting")],
            },
        }]));
        let pod = list.pod("U1").unwrap();
        for id in ["a", "b", "c"] {
            assert!(pod.status.container(id).is_some(), "{id}");
            assert_eq!(list.pod_of_container(id), Ok(Some(pod)), "{id}");
        }
        for id in ["dead", "", "containerd://a"] {
            assert!(pod.status.container(id).is_none(), "{id}");
            assert_eq!(list.pod_of_container(id), Ok(None), "{id}");
        }
    }

    #[test]
    fn a_container_of_two_pods_is_nobodys() {
        let pod = |uid| json!({"metadata": {"uid": uid}, "status": {"containerStatuses": [status("x://a", "running")]}});
        let list = parse(&json!([pod("u1"), pod("u2")]));
        assert_eq!(list.pod_of_container("a"), Err(TwoPods));
        assert_eq!(list.len(), 2);
    }

    #[test]
    fn what_is_null_or_missing_is_nothing_and_the_rest_counts() {
        let list = parse(&json!([
            null,
            {},
            {"metadata": null, "spec": null, "status": null},
            {"metadata": {"uid": "u1", "name": "p", "labels": null, "ownerReferences": null},
             "spec": {"nodeName": "n"},
             "status": {"containerStatuses": null, "initContainerStatuses": [{"containerID": "", "state": null}]}},
        ]));
        assert_eq!(list.len(), 1);
        assert_eq!(list.pod("u1").unwrap().spec.node_name, "n");
        assert!(parse(&Value::Null).is_empty());
        assert!(PodList::parse(br#"{"kind": "PodList"}"#).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_pod_list_is_refused() {
        for text in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"kind": "Status", "items": []}"#,
            r#"{"kind": "PodList", "items": ["#,
            r#"{"kind": "PodList", "items": 3}"#,
            r#"{"kind": "PodList", "items": ["x"]}"#,
        ] {
            assert!(PodList::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
