//! Requests and their answers: the verbs of the API.

use super::{
    merge::merge,
    path::Target,
    reviews,
    rights::Apply,
    state::{Mood, State},
    store::{Refusal, Selection},
    watch::{self, Watch},
};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

/// What goes back: a document, or a stream of them.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The status code and the document of an answer.
type Answer = Result<(u16, Value), Refusal>;

/// Query parameters, decoded.
type Query = BTreeMap<String, String>;

/// Answers one request.
pub(super) async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Body>, Infallible> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let query = query(request.uri().query().unwrap_or_default());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let is_watch = query.get("watch").is_some_and(|value| value == "true");
    let mood = {
        let state = state.lock();
        let verb = if is_watch { "WATCH" } else { method.as_str() };
        state.asked.update(|asked| {
            asked.push(format!("{verb} {path}"));
            true
        });
        state.mood_for(&path)
    };
    let (code, document) = match mood {
        Mood::Hangs => std::future::pending().await,
        Mood::Fails(code) => failure(code, "told to fail"),
        Mood::Answers if is_watch => return Ok(watch(&state, &path, &query)),
        Mood::Answers => {
            let mut state = state.lock();
            let answer = state.answer(&method, &path, &query, &body);
            state.pulse.publish(state.store.version());
            answer
        }
    };
    Ok(response(code, Full::new(document.to_string().into()).boxed_unsync()))
}

fn response(code: u16, body: Body) -> Response<Body> {
    Response::builder()
        .status(StatusCode::from_u16(code).unwrap())
        .header(CONTENT_TYPE, "application/json")
        .body(body)
        .unwrap()
}

fn query(text: &str) -> Query {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn selection(target: &Target, query: &Query) -> Selection {
    let pairs = |key: &str| query.get(key).map(|text| Selection::pairs(text)).unwrap_or_default();
    let name = pairs("fieldSelector").into_iter().find(|(field, _)| field == "metadata.name");
    Selection {
        namespace: target.namespace.clone(),
        labels: pairs("labelSelector"),
        name: name.map(|(_, name)| name),
    }
}

fn watch(shared: &Arc<Mutex<State>>, path: &str, query: &Query) -> Response<Body> {
    let state = shared.lock();
    let target = Target::parse(path).unwrap();
    let version = query.get("resourceVersion").and_then(|version| version.parse().ok());
    let version = version.unwrap_or_else(|| state.store.version());
    if !state.store.remembers(version) {
        return response(410, Full::new(watch::gone().to_string().into()).boxed_unsync());
    }
    let watch = Watch {
        state: Arc::clone(shared),
        selection: selection(&target, query),
        resource: target.resource,
        version,
        pulse: state.pulse.reader(),
        cut: state.cuts,
        bookmark: state.bookmarks,
    };
    response(200, StreamBody::new(watch.stream()).boxed_unsync())
}

impl State {
    fn answer(&mut self, method: &Method, path: &str, query: &Query, body: &[u8]) -> (u16, Value) {
        let read = || serde_json::from_slice::<Value>(body).unwrap();
        if *method == Method::POST && path == reviews::PATH {
            return (201, self.reviews.answer(read()));
        }
        let Some(target) = Target::parse(path) else {
            return failure(404, &format!("{path} not found"));
        };
        let done = match (method.as_str(), &target.name) {
            ("GET", None) => Ok(self.list(&target, query)),
            ("GET", Some(_)) => self.get(&target, path),
            ("POST", None) => self.create(target, path, read()),
            ("PUT", Some(_)) => self.replace(&target, path, read()),
            ("PATCH", Some(_)) => self.patch(&target, path, query, &read()),
            ("DELETE", Some(_)) => {
                let deleted = self.store.delete(&target).ok_or_else(|| absent(path));
                deleted.map(|object| (200, Value::clone(&object)))
            }
            _ => Err(Refusal(405, format!("{method} is not served at {path}"))),
        };
        done.unwrap_or_else(|Refusal(code, message)| failure(code, &message))
    }

    fn get(&self, target: &Target, path: &str) -> Answer {
        self.rights.check("get", path)?;
        self.store.get(target).map(|object| (200, Value::clone(object))).ok_or_else(|| absent(path))
    }

    fn replace(&mut self, target: &Target, path: &str, object: Value) -> Answer {
        self.rights.check("update", path)?;
        let object = self.store.replace(target, object)?;
        Ok((200, Value::clone(&object)))
    }

    fn list(&self, target: &Target, query: &Query) -> (u16, Value) {
        let number = |key: &str| query.get(key).and_then(|text| text.parse().ok());
        let (skip, limit) =
            (number("continue").unwrap_or(0), number("limit").unwrap_or(usize::MAX));
        let selection = selection(target, query);
        let (page, has_more) = self.store.page(&target.resource, &selection, skip, limit);
        let follows = if has_more { (skip + limit).to_string() } else { String::new() };
        let version = self.store.version().to_string();
        let page: Vec<&Value> = page.into_iter().map(|object| &**object).collect();
        let list = json!({
            "apiVersion": "v1", "kind": "List",
            "metadata": {"resourceVersion": version, "continue": follows},
            "items": page,
        });
        (200, list)
    }

    fn create(&mut self, mut target: Target, path: &str, mut object: Value) -> Answer {
        self.rights.check("create", path)?;
        if let Some(prefix) = object["metadata"]["generateName"].as_str() {
            let name = format!("{prefix}{}", self.store.version());
            object["metadata"]["name"] = json!(name);
        }
        target.name = object["metadata"]["name"].as_str().map(str::to_owned);
        if self.store.get(&target).is_some() {
            let message = format!("{} already exists", object["metadata"]["name"]);
            return Err(Refusal(409, message));
        }
        Ok((201, Value::clone(&self.store.put(&target, object))))
    }

    /// A merge patch of an object or of its status; of what is not there only server-side apply makes an
    /// object, and that has its kind. An apply (whoever patches as a field manager) owns what it puts into
    /// `data`.
    fn patch(&mut self, target: &Target, path: &str, query: &Query, patch: &Value) -> Answer {
        self.rights.check("patch", path)?;
        let mut object = match self.store.get(target) {
            Some(object) => Value::clone(object),
            None if patch["kind"].is_string() && target.part.is_none() => {
                self.rights.check("create", path)?;
                json!({})
            }
            None => return Err(absent(path)),
        };
        match (target.part.as_deref(), query.get("fieldManager"), patch["data"].as_object()) {
            (Some("status"), ..) => merge(&mut object["status"], &patch["status"]),
            (_, Some(manager), Some(wanted)) => {
                let mut data = object["data"].as_object().cloned().unwrap_or_default();
                let force = query.get("force").is_some_and(|value| value == "true");
                self.owners.apply(&Apply { path, manager, force }, &mut data, wanted)?;
                merge(&mut object, patch);
                object["data"] = data.into();
            }
            _ => merge(&mut object, patch),
        }
        match self.store.get(target) {
            Some(before) if **before == object => Ok((200, object)),
            _ => Ok((200, Value::clone(&self.store.put(target, object)))),
        }
    }
}

fn absent(path: &str) -> Refusal {
    Refusal(404, format!("{path} not found"))
}

/// A refusal as the real server writes it.
fn failure(code: u16, message: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message,
        "reason": "", "code": code,
    });
    (code, status)
}
