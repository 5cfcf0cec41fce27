//! The delta variant of SDS: as [`super::sotw`], with names added and removed one by one, and removals
//! told. Serves hand-written Envoy configurations; Istio never asks for it.

use super::{
    caller::Caller,
    grpc::{Data, Frame},
    ledger::Ledger,
    node,
    questions::Questions,
    secret::SECRET_TYPE,
    sotw::{check_type, is_nonce_of, refuse_unservable},
};
use crate::{
    agent::cache::{Interest, View},
    spiffe::SelectorSet,
    transport::status::Kind,
    wire::proto::envoy::service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource,
    },
};
use aws_lc_rs::digest;
use bytes::Bytes;
use prost::Message;
use prost_types::Any;
use std::sync::Arc;
use tonic::Status;

/// One DeltaSecrets stream.
pub(super) struct Delta {
    caller: Arc<Caller>,
    ledger: Ledger,
    version: u64,
    is_first_request: bool,
    /// The last response replaces one that the caller refused.
    is_correction: bool,
    /// A wanted name may be answered later.
    is_waiting: bool,
    questions: Questions,
}

impl Delta {
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
        }
    }

    /// Takes a request in. What a reconnecting client says it holds (`initial_resource_versions`) is
    /// not believed: staying silent about it starves a new subscription within that Envoy
    /// (envoyproxy/envoy#47309).
    pub(super) fn request(&mut self, request: &DeltaDiscoveryRequest) -> Result<(), Status> {
        check_type(&request.type_url)?;
        if let Some(node) = &request.node {
            self.ledger.validation = node::validation(node, self.caller.serving.validation);
        }
        if is_nonce_of(&request.response_nonce, self.version) {
            self.answered(request);
        }
        let (added, removed) =
            (&request.resource_names_subscribe, &request.resource_names_unsubscribe);
        let names = &self.caller.serving.names;
        self.ledger.want_delta(added, removed, self.is_first_request, names)?;
        self.is_first_request = false;
        Ok(())
    }

    fn answered(&mut self, request: &DeltaDiscoveryRequest) {
        let Some(detail) = &request.error_detail else {
            self.caller.serving.metrics.acked();
            if std::mem::take(&mut self.is_correction) {
                self.caller.corrected();
            }
            return;
        };
        self.caller.serving.metrics.nacked();
        self.caller.refused();
        self.is_correction = false;
        self.caller.explain_refusal(&[], &detail.message);
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
        if balance.lacking.is_empty() && balance.gone.is_empty() {
            return Ok(None);
        }
        self.is_correction |= self.ledger.has_sent_anything() && self.caller.is_refusing();
        self.version += 1;
        let resources = balance
            .lacking
            .iter()
            .map(|(name, bytes)| resource(name, bytes))
            .collect::<Result<Vec<_>, _>>()?;
        let response = DeltaDiscoveryResponse {
            system_version_info: self.version.to_string(),
            resources,
            type_url: SECRET_TYPE.to_owned(),
            nonce: self.version.to_string(),
            removed_resources: balance.gone.iter().map(|name| name.to_string()).collect(),
        };
        self.ledger.note_sent(&balance.lacking);
        self.ledger.note_removed(&balance.gone);
        Ok(Some(Frame::of(&response).end(Bytes::new())))
    }

    /// Whether a name that was asked for may still be answered.
    pub(super) const fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Which changes of its view can concern it.
    pub(super) fn interest(&self) -> Interest {
        self.ledger.interest(&self.caller.serving.names)
    }
}

fn resource(name: &str, bytes: &Bytes) -> Result<Resource, Status> {
    let any = Any::decode(bytes.clone())
        .map_err(|error| Kind::Internal.status(format!("cannot encode {name:?}: {error}")))?;
    let hash = digest::digest(&digest::SHA256, bytes);
    let version = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(Resource { version, resource: Some(any), name: name.to_owned() })
}
