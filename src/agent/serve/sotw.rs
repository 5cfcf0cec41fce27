//! The state of the world variant of SDS: one state machine per stream, two events.
//!
//! A request changes what is wanted or says how the last response fared; a new view changes what there
//! is. After either, [`Sotw::respond`] makes the response that is due, if any: only what was asked for
//! and differs from what was sent, so that an ACK, a NACK or an unrelated change push nothing.

use super::{
    caller::Caller,
    grpc::{Data, Frame},
    ledger::{Balance, Ledger},
    node,
    questions::Questions,
    secret::SECRET_TYPE,
};
use crate::{
    agent::cache::{Interest, StreamAck, View},
    spiffe::SelectorSet,
    transport::status::Kind,
    wire::proto::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse},
};
use bytes::Bytes;
use std::sync::Arc;
use tonic::Status;

/// One StreamSecrets stream.
pub(super) struct Sotw {
    caller: Arc<Caller>,
    ledger: Ledger,
    /// Counts responses; the nonce is made of it.
    version: u64,
    is_first_request: bool,
    /// The last response replaces one that the caller refused.
    is_correction: bool,
    /// A wanted name may be answered later.
    is_waiting: bool,
    questions: Questions,
    bundle: BundleUse,
}

/// Whether a request can have an answer.
#[derive(PartialEq, Eq)]
pub(super) enum Asks {
    /// The client took what it was sent and wants what it wanted.
    Nothing,
    /// It may want something.
    Something,
}

/// How far the client has come with the own bundle.
#[derive(Default)]
struct BundleUse {
    /// Present while a bundle is among the wanted names.
    ack: Option<StreamAck>,
    /// The bundle sequence that a response carries which the client has not answered.
    unanswered: Option<u64>,
}

/// The field tag of `resources` in DiscoveryResponse: field 2, length-delimited.
const RESOURCES_TAG: u8 = 0x12;

impl Sotw {
    pub(super) fn new(caller: Arc<Caller>) -> Self {
        let ledger = Ledger::new(caller.serving.validation);
        Self {
            caller,
            ledger,
            version: 0,
            is_first_request: true,
            is_correction: false,
            is_waiting: false,
            questions: Questions::default(),
            bundle: BundleUse::default(),
        }
    }

    /// Takes a request in.
    pub(super) fn request(&mut self, request: &DiscoveryRequest) -> Result<Asks, Status> {
        check_type(&request.type_url)?;
        let validation = self.ledger.validation;
        if let Some(node) = &request.node {
            self.ledger.validation = node::validation(node, self.caller.serving.validation);
        }
        let is_answer = !request.response_nonce.is_empty();
        // A stale nonce says nothing about the last response; its names count all the same, since
        // requests arrive in order.
        let is_current = is_nonce_of(&request.response_nonce, self.version);
        if is_current {
            self.answered(request);
        } else if is_answer && request.error_detail.is_some() {
            // The correction overtook the refusal: it is on its way.
            self.caller.refused();
            self.is_correction = true;
        }
        if !is_answer {
            // A new subscription, whatever version it remembers (istio-envoy.md §13).
            self.ledger.forget_sent();
        }
        let is_taken = is_current && request.error_detail.is_none();
        if is_taken && self.ledger.is_settled(&request.resource_names, validation) {
            return Ok(Asks::Nothing);
        }
        let names = &self.caller.serving.names;
        self.ledger.want(&request.resource_names, self.is_first_request, names)?;
        self.is_first_request = false;
        self.bundle.follow(self.ledger.wants_bundle(names), &self.caller);
        Ok(Asks::Something)
    }

    fn answered(&mut self, request: &DiscoveryRequest) {
        match &request.error_detail {
            None => {
                self.caller.serving.metrics.acked();
                if std::mem::take(&mut self.is_correction) {
                    self.caller.corrected();
                }
            }
            Some(detail) => {
                self.caller.serving.metrics.nacked();
                self.caller.refused();
                self.is_correction = false;
                self.caller.explain_refusal(&request.resource_names, &detail.message);
            }
        }
        // Refused or not: the client has seen it, and waiting for it longer would help nobody.
        self.bundle.answered();
    }

    /// Bundles are to be sent with other bytes, see [`Caller::corrected`].
    pub(super) const fn nudge(&mut self, padding: u8) {
        self.ledger.padding = padding;
    }

    /// The response that is due, if one is.
    pub(super) fn respond(
        &mut self,
        view: &View,
        selectors: &SelectorSet,
    ) -> Result<Option<Data>, Status> {
        let serving = &self.caller.serving;
        let balance = self.ledger.balance(view, &serving.names, serving.clock.now());
        refuse_unservable(&balance, &self.ledger)?;
        self.is_waiting = !balance.waiting.is_empty();
        self.questions.note(&self.caller.questions, &balance);
        balance.foreign.iter().for_each(|name| self.caller.explain_foreign(name));
        balance.waiting.iter().for_each(|n| self.caller.explain_waiting(n, view, selectors));
        let sequence = view.bundles.own.as_ref().map_or(0, |own| own.sequence());
        if balance.lacking.is_empty() {
            self.bundle.unchanged(sequence);
            return Ok(None);
        }
        self.is_correction |= self.ledger.has_sent_anything() && self.caller.is_refusing();
        self.version += 1;
        self.ledger.note_sent(&balance.lacking);
        self.bundle.sent(sequence);
        Ok(Some(self.encode(balance)))
    }

    /// Whether a name that was asked for may still be answered.
    pub(super) const fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Which changes of its view can concern it.
    pub(super) fn interest(&self) -> Interest {
        self.ledger.interest(&self.caller.serving.names)
    }

    fn encode(&self, balance: Balance) -> Data {
        let version = self.version.to_string();
        let mut frame = Frame::of(&DiscoveryResponse {
            nonce: version.clone(),
            version_info: version,
            resources: Vec::new(),
            type_url: SECRET_TYPE.to_owned(),
        });
        let mut resources = balance.lacking.into_iter().map(|(_, bytes)| bytes).peekable();
        // Protobuf fields may come in any order: with the resources last, the last one needs no copy.
        while let Some(bytes) = resources.next() {
            frame.field(RESOURCES_TAG, bytes.len());
            if resources.peek().is_none() {
                return frame.end(bytes);
            }
            frame.copy(&bytes);
        }
        frame.end(Bytes::new())
    }
}

impl BundleUse {
    fn follow(&mut self, wants_bundle: bool, caller: &Caller) {
        match (wants_bundle, &self.ack) {
            (true, None) => self.ack = Some(caller.serving.cache.served_sequence().stream()),
            (false, Some(_)) => self.ack = None,
            _ => {}
        }
    }

    fn sent(&mut self, sequence: u64) {
        self.unanswered = Some(sequence);
    }

    fn answered(&mut self) {
        if let (Some(ack), Some(sequence)) = (&mut self.ack, self.unanswered.take()) {
            ack.acknowledge(sequence);
        }
    }

    /// The view's bundle is byte for byte what the client has.
    fn unchanged(&mut self, sequence: u64) {
        if let (Some(ack), None) = (&mut self.ack, self.unanswered) {
            ack.acknowledge(sequence);
        }
    }
}

/// Everything of one kind is served here.
pub(super) fn check_type(type_url: &str) -> Result<(), Status> {
    if type_url.is_empty() || type_url == SECRET_TYPE {
        return Ok(());
    }
    Err(Kind::Invalid.status(format!(
        "type URL {:?} is not served here, expected {SECRET_TYPE:?}",
        type_url.escape_default().to_string()
    )))
}

/// A stream all of whose names can never be served as they are asked for is told so.
pub(super) fn refuse_unservable(balance: &Balance, ledger: &Ledger) -> Result<(), Status> {
    let others = balance.lacking.len() + balance.waiting.len() + balance.foreign.len();
    if balance.needs_spiffe_validator == 0 || others > 0 || ledger.has_sent_anything() {
        return Ok(());
    }
    Err(Kind::Precondition.status(
        "unable to use \"SPIFFE validator\" on Envoy below 1.17, or it is switched off by \
         disable_spiffe_cert_validation: ask for the bundle of one trust domain instead",
    ))
}

/// Whether `nonce` is that of a stream's response number `version`: that number. None has number 0.
pub(super) fn is_nonce_of(nonce: &str, version: u64) -> bool {
    version > 0 && nonce.parse() == Ok(version)
}
