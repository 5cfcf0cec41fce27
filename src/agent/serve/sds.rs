//! Envoy's Secret Discovery Service: drives each stream between its requests and its views.
//!
//! No stream is closed for want of an identity: it waits, and is answered when the identity arrives
//! (istio-envoy.md §0.4: closing costs Envoy up to 30 s).

use super::{
    body::{Outbox, StreamBody},
    caller::{Caller, shutting_down},
    delta::Delta,
    grpc::{Data, Frame, Requests},
    ledger::Ledger,
    secret::SECRET_TYPE,
    sotw::{self, Asks, Sotw},
};
use crate::{
    agent::{
        cache::{Interest, View},
        metrics::Api,
    },
    spiffe::SelectorSet,
    transport::{RequestBody, status::Kind},
    wire::proto::envoy::service::discovery::v3::{
        DeltaDiscoveryRequest, DiscoveryRequest, DiscoveryResponse,
    },
};
use bytes::{Buf, Bytes};
use prost::Message;
use std::sync::Arc;
use tokio::time::Instant;
use tonic::{Code, Status};

/// The body of a StreamSecrets call.
pub(super) fn stream_secrets(caller: Arc<Caller>, body: RequestBody) -> StreamBody {
    let machine = Machine::Sotw(Sotw::new(Arc::clone(&caller)), Requests::new(body));
    StreamBody::new(|outbox| drive(machine, caller, outbox))
}

/// The body of a DeltaSecrets call.
pub(super) fn delta_secrets(caller: Arc<Caller>, body: RequestBody) -> StreamBody {
    let machine = Machine::Delta(Delta::new(Arc::clone(&caller)), Requests::new(body));
    StreamBody::new(|outbox| drive(machine, caller, outbox))
}

/// The body of a FetchSecrets call.
pub(super) fn fetch_secrets(caller: Arc<Caller>, body: RequestBody) -> StreamBody {
    StreamBody::new(|outbox| async move {
        let result = fetch(&caller, Requests::new(body), outbox).await;
        note_end(&caller, &result);
        result
    })
}

/// A stream's state machine with the requests that feed it.
enum Machine {
    Sotw(Sotw, Requests<DiscoveryRequest>),
    Delta(Delta, Requests<DeltaDiscoveryRequest>),
}

/// What a client said last.
#[derive(PartialEq, Eq)]
enum Said {
    /// That it took what it was sent, and nothing else: there is nothing to answer.
    Taken,
    /// Something that may be answered.
    More,
    /// That it will say nothing more.
    Farewell,
}

impl Machine {
    /// Waits for a request and takes it in. Dropping it loses nothing.
    async fn next_request(&mut self) -> Result<Said, Status> {
        match self {
            Self::Sotw(stream, requests) => match requests.next().await? {
                Some(request) => Ok(match stream.request(&request)? {
                    Asks::Nothing => Said::Taken,
                    Asks::Something => Said::More,
                }),
                None => Ok(Said::Farewell),
            },
            Self::Delta(stream, requests) => match requests.next().await? {
                Some(request) => stream.request(&request).map(|()| Said::More),
                None => Ok(Said::Farewell),
            },
        }
    }

    fn respond(&mut self, view: &View, selectors: &SelectorSet) -> Result<Option<Data>, Status> {
        match self {
            Self::Sotw(stream, _) => stream.respond(view, selectors),
            Self::Delta(stream, _) => stream.respond(view, selectors),
        }
    }

    /// Which changes of its view can concern it.
    fn interest(&self) -> Interest {
        match self {
            Self::Sotw(stream, _) => stream.interest(),
            Self::Delta(stream, _) => stream.interest(),
        }
    }

    const fn nudge(&mut self, padding: u8) {
        match self {
            Self::Sotw(stream, _) => stream.nudge(padding),
            Self::Delta(stream, _) => stream.nudge(padding),
        }
    }

    /// Whether a name that was asked for may still be answered.
    const fn is_waiting(&self) -> bool {
        match self {
            Self::Sotw(stream, _) => stream.is_waiting(),
            Self::Delta(stream, _) => stream.is_waiting(),
        }
    }
}

/// Runs a stream to its end.
async fn drive(machine: Machine, caller: Arc<Caller>, outbox: Outbox) -> Result<(), Status> {
    let account = Account::open(&caller);
    let result = converse(machine, &caller, &outbox, &account).await;
    note_end(&caller, &result);
    result
}

/// Counts and tells what the caller itself did wrong; anything else that ends a call is of no interest.
fn note_end(caller: &Caller, result: &Result<(), Status>) {
    use Code::{FailedPrecondition, Internal, InvalidArgument, ResourceExhausted, Unimplemented};
    let Err(status) = result else { return };
    let (code, reason) = (status.code(), status.message());
    match code {
        InvalidArgument | ResourceExhausted | FailedPrecondition | Internal | Unimplemented => {
            caller.serving.metrics.refused();
            caller.explain_end(code, reason);
        }
        _ => tracing::debug!(pid = caller.pid(), ?code, reason, "SDS call ended"),
    }
}

/// Three things wake a stream: its client, what it follows, and the caller's other streams. The last
/// two ring one bell, since thousands of streams wait here.
async fn converse(
    mut machine: Machine,
    caller: &Caller,
    outbox: &Outbox,
    account: &Account<'_>,
) -> Result<(), Status> {
    let mut subscription = caller.subscribe_patiently().await?;
    caller.wake_by(subscription.bell());
    let mut view = subscription.current();
    let mut said = Said::More;
    loop {
        machine.nudge(caller.nudges());
        // A push rests here until the client reads; meanwhile newer views replace each other.
        if let Some(frame) = machine.respond(&view, subscription.selectors())? {
            account.pushing(&frame, &view);
            outbox.send(frame).await;
        }
        // A client that asks once and says so, as grpcurl does, still gets what it waits for.
        if said == Said::Farewell && !machine.is_waiting() {
            return Ok(());
        }
        loop {
            tokio::select! {
                biased;
                changed = subscription.changed() => {
                    let changed = changed.map_err(|_| shutting_down())?;
                    view = caller.keep_up(&mut subscription, changed);
                    break;
                }
                now = machine.next_request(), if said != Said::Farewell => {
                    said = now?;
                    if said == Said::Taken {
                        continue;
                    }
                    subscription.follow(machine.interest());
                    view = subscription.current();
                    break;
                }
            }
        }
    }
}

/// Answers a FetchSecrets call with what is there now.
async fn fetch(
    caller: &Caller,
    mut requests: Requests<DiscoveryRequest>,
    outbox: Outbox,
) -> Result<(), Status> {
    let request = requests.next().await?.ok_or_else(|| Kind::Internal.status("no request"))?;
    sotw::check_type(&request.type_url)?;
    let serving = &caller.serving;
    let account = Account::open(caller);
    let mut subscription = caller.subscribe().await?;
    let view = subscription.current();
    let mut ledger = Ledger::new(serving.validation);
    if let Some(node) = &request.node {
        ledger.validation = super::node::validation(node, serving.validation);
    }
    ledger.want(&request.resource_names, true, &serving.names)?;
    let balance = ledger.balance(&view, &serving.names, serving.clock.now());
    sotw::refuse_unservable(&balance, &ledger)?;
    if balance.lacking.is_empty() {
        let mut names: Vec<_> = request.resource_names.iter().filter(|n| !n.is_empty()).collect();
        names.sort();
        // Go's %q of a list, as SPIRE prints it.
        let quoted: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
        return Err(Kind::Invalid.status(format!(
            "workload is not authorized for the requested identities [{}]",
            quoted.join(" ")
        )));
    }
    let any = |bytes: &Bytes| prost_types::Any::decode(bytes.clone()).unwrap_or_default();
    let resources = balance.lacking.iter().map(|(_, bytes)| any(bytes)).collect();
    let type_url = SECRET_TYPE.to_owned();
    let response = DiscoveryResponse { resources, type_url, ..DiscoveryResponse::default() };
    let frame = Frame::of(&response).end(Bytes::new());
    account.pushing(&frame, &view);
    outbox.send(frame).await;
    Ok(())
}

/// One stream's entries in the metrics.
struct Account<'a> {
    caller: &'a Caller,
    opened: Instant,
    is_held: std::sync::atomic::AtomicBool,
}

impl<'a> Account<'a> {
    fn open(caller: &'a Caller) -> Self {
        caller.serving.metrics.stream_opened(Api::Sds);
        caller.serving.metrics.held();
        let is_held = std::sync::atomic::AtomicBool::new(true);
        Self { caller, opened: Instant::now(), is_held }
    }

    fn pushing(&self, frame: &Data, view: &View) {
        let metrics = &self.caller.serving.metrics;
        metrics.pushed(Api::Sds, frame.remaining());
        if self.release() {
            metrics.first_secret(self.opened.elapsed());
        } else {
            metrics.push_delay(view.made_at.elapsed());
        }
    }

    /// Whether this was the first push.
    fn release(&self) -> bool {
        let was_held = self.is_held.swap(false, std::sync::atomic::Ordering::Relaxed);
        if was_held {
            self.caller.serving.metrics.released();
        }
        was_held
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        self.release();
        self.caller.serving.metrics.stream_closed(Api::Sds);
    }
}
