//! What the test API server does when it is told to write: objects are created, replaced and applied, with
//! resource versions, with owners of the keys of `data`, and without the verbs that it was told to refuse.

use crate::runtime::{Publisher, Reader};
use http::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Objects by their path.
pub(super) type Objects = BTreeMap<String, Value>;

/// A request that is more than a look at one path.
pub(super) struct Call<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
}

/// Who may do what, and who has done what.
pub(super) struct Writes {
    /// Verb and path.
    forbidden: BTreeSet<(String, String)>,
    /// The number of the newest change.
    version: Publisher<u64>,
    /// Who applied each key of an object's data, by path and key.
    owners: BTreeMap<(String, String), BTreeSet<String>>,
}

/// A status code, and why.
pub(super) type Refusal = (u16, String);

impl Writes {
    pub(super) fn new() -> Self {
        let (forbidden, owners) = (BTreeSet::new(), BTreeMap::new());
        Self { forbidden, version: Publisher::new(0), owners }
    }

    pub(super) fn version(&self) -> Reader<u64> {
        self.version.reader()
    }

    /// From now on nobody may do this.
    pub(super) fn forbid(&mut self, verb: &str, path: &str) {
        self.forbidden.insert((verb.to_owned(), path.to_owned()));
    }

    /// It may be done again.
    pub(super) fn allow(&mut self, verb: &str, path: &str) {
        self.forbidden.remove(&(verb.to_owned(), path.to_owned()));
    }

    /// Gives an object that has changed its next version.
    pub(super) fn touch(&mut self, object: &mut Value) {
        let version = self.version.current() + 1;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        self.version.publish(version);
    }

    pub(super) fn check(&self, verb: &str, path: &str) -> Result<(), Refusal> {
        if self.forbidden.contains(&(verb.to_owned(), path.to_owned())) {
            return Err((403, format!("{path} is forbidden: cannot {verb} resource")));
        }
        Ok(())
    }

    /// Does what is asked; the object as it is then, or `None` if this is no write.
    pub(super) fn answer(
        &mut self,
        objects: &mut Objects,
        call: &Call<'_>,
    ) -> Option<Result<(u16, Value), Refusal>> {
        let body = || serde_json::from_slice(call.body).unwrap();
        Some(match *call.method {
            Method::POST => self.create(objects, call.path, body()),
            Method::PUT => self.replace(objects, call.path, body()),
            Method::PATCH => self.apply(objects, call, &body()),
            _ => return None,
        })
    }

    fn create(
        &mut self,
        objects: &mut Objects,
        collection: &str,
        mut object: Value,
    ) -> Result<(u16, Value), Refusal> {
        self.check("create", collection)?;
        let path = format!("{collection}/{}", object["metadata"]["name"].as_str().unwrap());
        if objects.contains_key(&path) {
            return Err((409, format!("{path} already exists")));
        }
        self.touch(&mut object);
        objects.insert(path, object.clone());
        Ok((201, object))
    }

    fn replace(
        &mut self,
        objects: &mut Objects,
        path: &str,
        mut object: Value,
    ) -> Result<(u16, Value), Refusal> {
        self.check("update", path)?;
        let Some(known) = objects.get_mut(path) else {
            return Err((404, format!("{path} not found")));
        };
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        if !version(&object).is_null() && version(&object) != version(known) {
            return Err((
                409,
                "the object has been modified; please apply your changes".to_owned(),
            ));
        }
        if object != *known {
            self.touch(&mut object);
            *known = object;
        }
        Ok((200, known.clone()))
    }

    /// Server-side apply, of `data` only.
    fn apply(
        &mut self,
        objects: &mut Objects,
        call: &Call<'_>,
        applied: &Value,
    ) -> Result<(u16, Value), Refusal> {
        let path = call.path;
        self.check("patch", path)?;
        let parameter = |name: &str| {
            call.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        };
        let manager = parameter("fieldManager").expect("an apply names its manager").to_owned();
        if !objects.contains_key(path) {
            self.check("create", path)?;
            let metadata = applied["metadata"].clone();
            objects.insert(path.to_owned(), json!({"metadata": metadata, "data": {}}));
        }
        let before = objects[path].clone();
        let mut object = before.clone();
        let wanted = applied["data"].as_object().cloned().unwrap_or_default();
        for (key, value) in &wanted {
            let owners = self.owners.entry((path.to_owned(), key.clone())).or_default();
            let is_others = !owners.is_empty() && !owners.contains(&manager);
            if object["data"][key] != *value && is_others && parameter("force") != Some("true") {
                return Err((409, format!("conflict with {owners:?}: .data.{key}")));
            }
            if object["data"][key] != *value {
                owners.clear();
            }
            owners.insert(manager.clone());
            object["data"][key] = value.clone();
        }
        for ((_, key), owners) in self.owners.iter_mut().filter(|((of, _), _)| of == path) {
            if !wanted.contains_key(key) && owners.remove(&manager) && owners.is_empty() {
                object["data"].as_object_mut().unwrap().remove(key);
            }
        }
        if object != before {
            self.touch(&mut object);
        }
        objects.insert(path.to_owned(), object.clone());
        Ok((200, object))
    }
}
