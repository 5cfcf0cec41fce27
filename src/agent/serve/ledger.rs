//! What one SDS stream has asked for and was sent, and so what it lacks.
//!
//! Pure bookkeeping for both variants of the protocol: knows names and bytes, no messages.

use super::secret::{Resolution, SecretNames, Subject, Validation};
use crate::{
    agent::cache::{Interest, View},
    transport::status::Kind,
};
use bytes::Bytes;
use std::{sync::Arc, time::SystemTime};
use tonic::Status;

/// The account of one stream.
pub(super) struct Ledger {
    wanted: Wanted,
    sent: Vec<(Arc<str>, Bytes)>,
    /// How this stream's validation contexts are written.
    pub(super) validation: Validation,
    /// How many newlines its bundles end with, see [`SecretNames::resolve`].
    pub(super) padding: u8,
}

/// The names of a stream.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// Nothing was asked for yet, or no longer.
    Nothing,
    /// A first request without names: everything that is the caller's own.
    Everything,
    Named(Vec<Arc<str>>),
}

/// How a stream stands to its view.
#[derive(Debug, Default)]
pub(super) struct Balance {
    /// What it must be sent: new or changed.
    pub(super) lacking: Vec<(Arc<str>, Bytes)>,
    /// What it was sent and is no longer there.
    pub(super) gone: Vec<Arc<str>>,
    /// Names that may be answered later.
    pub(super) waiting: Vec<Arc<str>>,
    /// Names that are not ours.
    pub(super) foreign: Vec<Arc<str>>,
    /// Names that only the SPIFFE validator could serve.
    pub(super) needs_spiffe_validator: usize,
}

/// Envoy asks for one name per stream; 1,024 of at most a SPIFFE ID's length bound what a hostile
/// caller can make us hold (reliability-security.md §2.5).
const MAX_NAMES: usize = 1024;
const MAX_NAME_BYTES: usize = 2048;

impl Ledger {
    pub(super) const fn new(validation: Validation) -> Self {
        Self { wanted: Wanted::Nothing, sent: Vec::new(), validation, padding: 0 }
    }

    /// Replaces the wanted names. On a stream's first request no names mean everything; later they
    /// mean that nothing is wanted any more. What is no longer wanted is forgotten.
    pub(super) fn want(
        &mut self,
        names: &[String],
        is_first: bool,
        known: &SecretNames,
    ) -> Result<(), Status> {
        let mut distinct: Vec<Arc<str>> = Vec::with_capacity(names.len().min(MAX_NAMES));
        check_names(names)?;
        for name in names.iter().filter(|name| !name.is_empty()) {
            if !distinct.iter().any(|seen| **seen == **name) {
                distinct.push(known.intern(name));
            }
        }
        self.wanted = match (distinct.is_empty(), is_first, &self.wanted) {
            (false, _, _) => Wanted::Named(distinct),
            (true, true, _) | (true, false, Wanted::Everything) => Wanted::Everything,
            (true, false, _) => Wanted::Nothing,
        };
        if let Wanted::Named(wanted) = &self.wanted {
            self.sent.retain(|(name, _)| wanted.contains(name));
        }
        Ok(())
    }

    /// Whether exactly `names` are wanted already, in the manner of `validation`.
    pub(super) fn is_settled(&self, names: &[String], validation: Validation) -> bool {
        let Wanted::Named(wanted) = &self.wanted else { return false };
        let is_same = wanted.len() == names.len()
            && wanted.iter().zip(names).all(|(wanted, name)| **wanted == **name);
        is_same && self.validation == validation
    }

    /// Adds and removes wanted names, as the delta variant does. `*` wants everything.
    pub(super) fn want_delta(
        &mut self,
        added: &[String],
        removed: &[String],
        is_first: bool,
        known: &SecretNames,
    ) -> Result<(), Status> {
        check_names(added)?;
        let wildcard = added.iter().any(|name| name == "*") || (is_first && added.is_empty());
        if wildcard {
            self.wanted = Wanted::Everything;
            return Ok(());
        }
        let mut wanted = match std::mem::replace(&mut self.wanted, Wanted::Nothing) {
            Wanted::Named(names) => names,
            Wanted::Nothing => Vec::new(),
            Wanted::Everything if removed.iter().any(|name| name == "*") => Vec::new(),
            Wanted::Everything => {
                self.wanted = Wanted::Everything;
                return Ok(());
            }
        };
        wanted.retain(|name| !removed.iter().any(|gone| **gone == **name));
        for name in added.iter().filter(|name| !name.is_empty()) {
            // Subscribing anew asks for the resource anew, whatever was sent before.
            self.sent.retain(|(sent, _)| **sent != **name);
            if !wanted.iter().any(|seen| **seen == **name) {
                wanted.push(known.intern(name));
            }
        }
        if wanted.len() > MAX_NAMES {
            return Err(too_many(wanted.len()));
        }
        self.sent.retain(|(name, _)| wanted.contains(name));
        self.wanted = Wanted::Named(wanted);
        Ok(())
    }

    /// Forgets what was sent, so that everything wanted is sent again.
    pub(super) fn forget_sent(&mut self) {
        self.sent.clear();
    }

    /// Which changes of a view can concern what is wanted.
    pub(super) fn interest(&self, known: &SecretNames) -> Interest {
        let of = |name: &Arc<str>| match known.subject(name) {
            Subject::Svid => Interest::Identities,
            Subject::Bundle => Interest::Bundles,
            Subject::Foreign => Interest::Nothing,
        };
        match &self.wanted {
            Wanted::Nothing => Interest::Nothing,
            Wanted::Everything => Interest::Both,
            Wanted::Named(names) => names.iter().map(of).fold(Interest::Nothing, Interest::and),
        }
    }

    /// Whether a bundle is among the wanted names.
    pub(super) fn wants_bundle(&self, known: &SecretNames) -> bool {
        matches!(self.interest(known), Interest::Bundles | Interest::Both)
    }

    /// What was sent, by name.
    pub(super) fn has_sent_anything(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Compares what is wanted and in `view` with what was sent.
    pub(super) fn balance(&self, view: &View, known: &SecretNames, now: SystemTime) -> Balance {
        let mut balance = Balance::default();
        let everything;
        let names = match &self.wanted {
            Wanted::Nothing => return balance,
            Wanted::Named(names) => names,
            Wanted::Everything => {
                everything = known.everything(view, now);
                let gone = self.sent.iter().map(|(name, _)| name);
                balance.gone = gone.filter(|name| !everything.contains(name)).cloned().collect();
                &everything
            }
        };
        for name in names {
            let sent = self.sent.iter().find(|(sent, _)| sent == name).map(|(_, bytes)| bytes);
            match known.resolve(name, view, self.validation, self.padding, now) {
                Resolution::Ready(bytes) if sent == Some(&bytes) => {}
                Resolution::Ready(bytes) => balance.lacking.push((Arc::clone(name), bytes)),
                Resolution::Waiting => {
                    if sent.is_some() {
                        balance.gone.push(Arc::clone(name));
                    }
                    balance.waiting.push(Arc::clone(name));
                }
                Resolution::Foreign => balance.foreign.push(Arc::clone(name)),
                Resolution::NeedsSpiffeValidator => balance.needs_spiffe_validator += 1,
            }
        }
        balance
    }

    /// Notes that `resources` are on their way.
    pub(super) fn note_sent(&mut self, resources: &[(Arc<str>, Bytes)]) {
        for (name, bytes) in resources {
            match self.sent.iter_mut().find(|(sent, _)| sent == name) {
                Some((_, known)) => *known = bytes.clone(),
                None => self.sent.push((Arc::clone(name), bytes.clone())),
            }
        }
    }

    /// Notes that the client was told that `names` are gone.
    pub(super) fn note_removed(&mut self, names: &[Arc<str>]) {
        self.sent.retain(|(sent, _)| !names.contains(sent));
    }
}

fn check_names(names: &[String]) -> Result<(), Status> {
    if names.len() > MAX_NAMES {
        return Err(too_many(names.len()));
    }
    match names.iter().find(|name| name.len() > MAX_NAME_BYTES) {
        Some(name) => Err(Kind::Exhausted.status(format!(
            "resource name of {} bytes, expected at most {MAX_NAME_BYTES}",
            name.len()
        ))),
        None => Ok(()),
    }
}

fn too_many(count: usize) -> Status {
    Kind::Exhausted.status(format!("{count} resource names, expected at most {MAX_NAMES}"))
}
