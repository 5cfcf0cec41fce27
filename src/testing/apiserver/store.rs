//! Objects, their versions, and what happened to them: the part of the API server that is etcd.

use super::path::{Resource, Target};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Namespace and name; the namespace is empty for cluster-scoped objects.
type Key = (String, String);

/// All objects.
pub(super) struct Store {
    objects: BTreeMap<Resource, BTreeMap<Key, Arc<Value>>>,
    version: u64,
    history: VecDeque<Happening>,
    /// What happened up to here is forgotten.
    forgotten: u64,
}

/// What happened to one object.
#[derive(Clone)]
pub(super) struct Happening {
    pub(super) version: u64,
    pub(super) what: What,
    pub(super) resource: Resource,
    pub(super) namespace: String,
    pub(super) object: Arc<Value>,
}

#[derive(Clone, Copy)]
pub(super) enum What {
    Added,
    Modified,
    Deleted,
}

/// Which objects of a kind are asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    pub(super) namespace: Option<String>,
    pub(super) labels: Vec<(String, String)>,
    pub(super) name: Option<String>,
}

/// Refused as the real one does, with its code.
pub(super) struct Refusal(pub(super) u16, pub(super) String);

/// How much is remembered: a test never makes more, a long bench relists.
const MAX_HISTORY: usize = 200_000;

impl What {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

impl Selection {
    /// Reads `a=b,c=d`.
    pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(key, value)| (key.to_owned(), value.trim_start_matches('=').to_owned()))
            .collect()
    }

    pub(super) fn takes(&self, namespace: &str, object: &Value) -> bool {
        let metadata = &object["metadata"];
        self.namespace.as_deref().is_none_or(|wanted| wanted == namespace)
            && self.name.as_deref().is_none_or(|wanted| metadata["name"] == wanted)
            && self.labels.iter().all(|(key, value)| metadata["labels"][key] == value.as_str())
    }
}

impl Store {
    pub(super) fn new() -> Self {
        // Version 0 means "any" to a client.
        Self { objects: BTreeMap::new(), version: 1, history: VecDeque::new(), forgotten: 0 }
    }

    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// Whether what happened after `version` is still known.
    pub(super) const fn remembers(&self, version: u64) -> bool {
        version >= self.forgotten
    }

    /// Forgets what happened, as etcd does when it is compacted.
    pub(super) fn compact(&mut self) {
        self.version += 1;
        self.forgotten = self.version;
        self.history.clear();
    }

    pub(super) fn get(&self, target: &Target) -> Option<&Arc<Value>> {
        self.objects.get(&target.resource)?.get(&key(target))
    }

    /// Puts an object where it belongs, as the real server completes it.
    pub(super) fn put(&mut self, target: &Target, mut object: Value) -> Arc<Value> {
        let before = self.get(target).cloned();
        self.version += 1;
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = json!(self.version.to_string());
        let kept = |field: &str| before.as_ref().map(|before| before["metadata"][field].clone());
        for (field, fresh) in [
            ("uid", json!(format!("uid-{}", self.version))),
            ("creationTimestamp", json!("2026-01-01T00:00:00Z")),
        ] {
            if metadata[field].is_null() {
                metadata[field] = kept(field).unwrap_or(fresh);
            }
        }
        let has_new_spec = before.as_ref().is_none_or(|before| before["spec"] != object["spec"]);
        let generation =
            before.as_ref().and_then(|before| before["metadata"]["generation"].as_i64());
        object["metadata"]["generation"] =
            json!(generation.unwrap_or_default() + i64::from(has_new_spec));
        let what = if before.is_some() { What::Modified } else { What::Added };
        let object = Arc::new(object);
        self.record(what, target, &object);
        let kind = self.objects.entry(target.resource.clone()).or_default();
        kind.insert(key(target), Arc::clone(&object));
        object
    }

    /// Puts an object if it is still the version that its author saw.
    pub(super) fn replace(
        &mut self,
        target: &Target,
        object: Value,
    ) -> Result<Arc<Value>, Refusal> {
        let name = target.name.clone().unwrap_or_default();
        let Some(before) = self.get(target) else {
            return Err(Refusal(404, format!("{name} not found")));
        };
        let seen = &object["metadata"]["resourceVersion"];
        if !seen.is_null() && *seen != before["metadata"]["resourceVersion"] {
            return Err(Refusal(409, format!("the object {name} has been modified")));
        }
        if object == **before {
            return Ok(Arc::clone(before));
        }
        Ok(self.put(target, object))
    }

    pub(super) fn delete(&mut self, target: &Target) -> Option<Arc<Value>> {
        let object = self.objects.get_mut(&target.resource)?.remove(&key(target))?;
        self.version += 1;
        let mut object = Value::clone(&object);
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let object = Arc::new(object);
        self.record(What::Deleted, target, &object);
        Some(object)
    }

    fn record(&mut self, what: What, target: &Target, object: &Arc<Value>) {
        if self.history.len() == MAX_HISTORY
            && let Some(first) = self.history.pop_front()
        {
            self.forgotten = first.version;
        }
        self.history.push_back(Happening {
            version: self.version,
            what,
            resource: target.resource.clone(),
            namespace: target.namespace.clone().unwrap_or_default(),
            object: Arc::clone(object),
        });
    }

    /// A page of what is selected, from the `skip`th object on; whether more follow.
    pub(super) fn page(
        &self,
        resource: &Resource,
        selection: &Selection,
        skip: usize,
        limit: usize,
    ) -> (Vec<&Arc<Value>>, bool) {
        let all = self.objects.get(resource).into_iter().flatten();
        let selected = all.filter(|((namespace, _), object)| selection.takes(namespace, object));
        let mut page: Vec<&Arc<Value>> =
            selected.map(|(_, object)| object).skip(skip).take(limit.saturating_add(1)).collect();
        let has_more = page.len() > limit;
        page.truncate(limit);
        (page, has_more)
    }

    /// What happened to the selected objects of a kind after `version`.
    pub(super) fn since(
        &self,
        version: u64,
        resource: &Resource,
        selection: &Selection,
    ) -> Vec<Happening> {
        let from = self.history.partition_point(|happening| happening.version <= version);
        self.history
            .range(from..)
            .filter(|h| h.resource == *resource && selection.takes(&h.namespace, &h.object))
            .cloned()
            .collect()
    }
}

fn key(target: &Target) -> Key {
    (target.namespace.clone().unwrap_or_default(), target.name.clone().unwrap_or_default())
}
