//! The SPIFFE Workload API: X.509-SVIDs and bundles as streams of complete answers.
//!
//! Clients of this API ask again by themselves, so what cannot be answered is refused at once, unlike
//! in SDS; only an identity that is being signed is waited for.

use super::caller::{Caller, shutting_down};
use crate::{
    agent::{
        cache::{Subscription, View, view::Identity},
        metrics::Api,
    },
    spiffe::Bundle,
    transport::status::Kind,
    wire::proto::workload::{
        X509BundlesRequest, X509BundlesResponse, X509svid, X509svidRequest, X509svidResponse,
        spiffe_workload_api_server::SpiffeWorkloadApi,
    },
};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use prost::Message;
use std::{collections::HashSet, pin::Pin, sync::Arc, time::SystemTime};
use tonic::{Extensions, Request, Response, Status};

/// The service; who asks stands in each request's extensions.
pub(super) struct WorkloadApi;

type Answers<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

#[tonic::async_trait]
impl SpiffeWorkloadApi for WorkloadApi {
    type FetchX509SVIDStream = Answers<X509svidResponse>;
    type FetchX509BundlesStream = Answers<X509BundlesResponse>;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        Ok(Response::new(answers(caller(request.extensions())?, svids).await?))
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        Ok(Response::new(answers(caller(request.extensions())?, bundles).await?))
    }
}

fn caller(extensions: &Extensions) -> Result<Arc<Caller>, Status> {
    let caller = extensions.get::<Arc<Caller>>().map(Arc::clone);
    caller.ok_or_else(|| Kind::Internal.status("the connection has no caller"))
}

/// A call in progress.
struct Call<M> {
    caller: Arc<Caller>,
    subscription: Subscription,
    compose: Compose<M>,
    last: Option<M>,
}

/// Makes the complete answer of a view that holds an identity.
type Compose<M> = fn(&View, SystemTime) -> M;

/// The answers to one call: the first as soon as there is one, later ones when they differ.
async fn answers<M>(caller: Arc<Caller>, compose: Compose<M>) -> Result<Answers<M>, Status>
where
    M: Message + PartialEq + Clone + 'static,
{
    let subscription = caller.subscribe().await?;
    caller.wake_by(subscription.bell());
    caller.serving.metrics.stream_opened(Api::Workload);
    let call = Call { caller, subscription, compose, last: None };
    Ok(Box::pin(stream::try_unfold(call, |mut call| async move {
        let answer = call.next().await?;
        Ok(Some((answer, call)))
    })))
}

impl<M: Message + PartialEq + Clone> Call<M> {
    async fn next(&mut self) -> Result<M, Status> {
        let serving = Arc::clone(&self.caller.serving);
        let mut view = self.subscription.current();
        loop {
            let now = serving.clock.now();
            self.refuse_without_identity(&view, now)?;
            if view.valid_identities(now).next().is_some() {
                let answer = (self.compose)(&view, now);
                if self.last.as_ref() != Some(&answer) {
                    serving.metrics.pushed(Api::Workload, answer.encoded_len());
                    self.last = Some(answer.clone());
                    return Ok(answer);
                }
            }
            let changed = self.subscription.changed().await.map_err(|_| shutting_down())?;
            view = self.caller.keep_up(&mut self.subscription, changed);
        }
    }

    /// SPIRE's answers for callers that have nothing to wait for.
    fn refuse_without_identity(&self, view: &View, now: SystemTime) -> Result<(), Status> {
        if !view.is_synced {
            return Err(Kind::Unavailable
                .status("the agent has not heard from its server yet; see its log and try again"));
        }
        if view.pending > 0 || view.valid_identities(now).next().is_some() {
            return Ok(());
        }
        tracing::info!(
            pid = self.caller.pid(),
            selectors = ?self.subscription.selectors(),
            "no identity issued: no registration entry on this node matches these selectors"
        );
        Err(Kind::Denied.status("no identity issued"))
    }
}

impl<M> Drop for Call<M> {
    fn drop(&mut self) {
        self.caller.serving.metrics.stream_closed(Api::Workload);
    }
}

fn svids(view: &View, now: SystemTime) -> X509svidResponse {
    let own = view.bundles.own.as_deref().map(|bundle| der(bundle, now)).unwrap_or_default();
    let federated = view.bundles.federated.iter();
    X509svidResponse {
        svids: with_distinct_hints(view, now).map(|identity| svid(identity, own.clone())).collect(),
        crl: Vec::new(),
        federated_bundles: federated.map(|bundle| by_id(bundle, now)).collect(),
    }
}

fn svid(identity: &Identity, bundle: Bytes) -> X509svid {
    let svid = &identity.svid;
    X509svid {
        spiffe_id: svid.id().to_string(),
        x509_svid: svid.chain().iter().flat_map(|c| c.der().iter().copied()).collect(),
        x509_svid_key: Bytes::copy_from_slice(svid.key().pkcs8_der()),
        bundle,
        hint: identity.entry.spec.hint.as_str().to_owned(),
    }
}

/// The identities of a caller, of those that share a hint only the oldest (WA-6).
fn with_distinct_hints(view: &View, now: SystemTime) -> impl Iterator<Item = &Arc<Identity>> {
    let mut by_age: Vec<_> = view.valid_identities(now).collect();
    by_age.sort_by_key(|identity| (identity.entry.created_at, identity.entry.id.clone()));
    let mut hints = HashSet::new();
    let dropped: HashSet<_> = by_age
        .into_iter()
        .filter(|identity| {
            let hint = identity.entry.spec.hint.as_str();
            !hint.is_empty() && !hints.insert(hint)
        })
        .map(|identity| identity.entry.id.clone())
        .collect();
    view.valid_identities(now).filter(move |identity| !dropped.contains(&identity.entry.id))
}

fn bundles(view: &View, now: SystemTime) -> X509BundlesResponse {
    let all = view.bundles.own.iter().chain(&view.bundles.federated);
    X509BundlesResponse { crl: Vec::new(), bundles: all.map(|bundle| by_id(bundle, now)).collect() }
}

/// A bundle under its trust domain's SPIFFE ID (WA-10).
fn by_id(bundle: &Arc<Bundle>, now: SystemTime) -> (String, Bytes) {
    (bundle.trust_domain().id().to_string(), der(bundle, now))
}

/// Concatenated DER.
fn der(bundle: &Bundle, now: SystemTime) -> Bytes {
    bundle.servable(now).iter().flat_map(|c| c.der().iter().copied()).collect()
}
