//! The stream of a watch: what happens to the selected objects, one JSON line each.

use super::{
    path::Resource,
    state::State,
    store::{Happening, Selection},
};
use crate::runtime::Reader;
use bytes::Bytes;
use futures_util::{Stream, stream};
use http_body::Frame;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{convert::Infallible, sync::Arc};

/// Where a watch stands.
pub(super) struct Watch {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) resource: Resource,
    pub(super) selection: Selection,
    pub(super) version: u64,
    /// Moves when something happened.
    pub(super) pulse: Reader<u64>,
    /// As it was when the watch began; it ends when this moves.
    pub(super) cut: u64,
    pub(super) bookmark: u64,
}

enum Step {
    Lines(String),
    Last(String),
    End,
    Wait,
}

impl Watch {
    /// What the client gets.
    pub(super) fn stream(self) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
        stream::unfold(Some(self), async |watch| {
            let mut watch = watch?;
            loop {
                match watch.step() {
                    Step::Lines(lines) => {
                        return Some((Ok(Frame::data(lines.into())), Some(watch)));
                    }
                    Step::Last(line) => return Some((Ok(Frame::data(line.into())), None)),
                    Step::End => return None,
                    Step::Wait => {
                        watch.pulse.changed().await.ok()?;
                    }
                }
            }
        })
    }

    fn step(&mut self) -> Step {
        let state = self.state.lock();
        // Before the state is looked at, so that nothing falls between.
        let _seen = self.pulse.take_current();
        if state.cuts != self.cut {
            return Step::End;
        }
        if !state.store.remembers(self.version) {
            return Step::Last(line("ERROR", &gone()));
        }
        let news = state.store.since(self.version, &self.resource, &self.selection);
        if let Some(last) = news.last() {
            self.version = last.version;
            let line = |h: &Happening| line(h.what.text(), &h.object);
            return Step::Lines(news.iter().map(line).collect());
        }
        if state.bookmarks != self.bookmark {
            self.bookmark = state.bookmarks;
            self.version = state.store.version();
            let version = self.version.to_string();
            let object = json!({"apiVersion": "v1", "kind": "Bookmark", "metadata": {"resourceVersion": version}});
            return Step::Lines(line("BOOKMARK", &object));
        }
        Step::Wait
    }
}

/// The history is gone: list anew.
pub(super) fn gone() -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version", "reason": "Expired", "code": 410,
    })
}

fn line(what: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": what, "object": object}))
}
