//! The names that a caller's streams have asked for and that are not answered, for whoever examines it. While
//! all are answered it costs each stream a pointer.

use super::ledger::Balance;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};

/// What the streams of one caller wait for.
#[derive(Default)]
pub(super) struct OpenQuestions(Mutex<Vec<Weak<OfStream>>>);

/// What one stream waits for.
#[derive(Default)]
pub(super) struct Questions(Option<Arc<OfStream>>);

type OfStream = Mutex<Vec<Question>>;

/// A name without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) name: Arc<str>,
    /// Nothing that is served here has such a name.
    pub(super) is_foreign: bool,
}

impl OpenQuestions {
    /// All of them, stream by stream.
    pub(super) fn all(&self) -> Vec<Question> {
        let streams: Vec<_> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        streams.iter().flat_map(|stream| stream.lock().clone()).collect()
    }

    fn add(&self, stream: &Arc<OfStream>) {
        let mut streams = self.0.lock();
        streams.retain(|stream| stream.strong_count() > 0);
        streams.push(Arc::downgrade(stream));
    }
}

impl Questions {
    /// Notes how the stream stands now, among those of its caller.
    pub(super) fn note(&mut self, callers: &OpenQuestions, balance: &Balance) {
        let open =
            |is_foreign| move |name: &Arc<str>| Question { name: Arc::clone(name), is_foreign };
        let waiting = balance.waiting.iter().map(open(false));
        let questions: Vec<_> = waiting.chain(balance.foreign.iter().map(open(true))).collect();
        match &self.0 {
            _ if questions.is_empty() => self.0 = None,
            Some(stream) => *stream.lock() = questions,
            None => {
                let stream = Arc::new(Mutex::new(questions));
                callers.add(&stream);
                self.0 = Some(stream);
            }
        }
    }
}
