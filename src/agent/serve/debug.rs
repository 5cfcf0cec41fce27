//! The admin socket: what the agent says of itself to an operator on the node. Nobody is attested here;
//! the socket's mode decides who may ask.

use super::{caller::Serving, doctor::DoctorService, socket::SocketError};
use crate::{
    agent::upkeep::Insight,
    runtime::{Clock, Shutdown, TaskSet, clock::unix_secs},
    spiffe::SpiffeId,
    transport::{Acceptor, Greeting, Limits, Takeover, serve_all, uds},
    wire::proto::{
        finial::agent::debug::v1::doctor_server::DoctorServer,
        spire::{
            agent::debug::v1::{
                GetInfoRequest, GetInfoResponse,
                debug_server::{Debug, DebugServer},
                get_info_response::Cert,
            },
            api::types::Spiffeid,
        },
    },
    x509::Certificate,
};
use futures_util::FutureExt as _;
use hyper::service::service_fn;
use std::{path::Path, sync::Arc};
use tokio::time::Instant;
use tonic::{Request, Response, Status, service::Routes};
use tower::ServiceExt as _;

/// The owner and its group, as SPIRE has it.
const ADMIN_MODE: u32 = 0o770;

/// Answers from what is in memory.
struct DebugService {
    insight: Insight,
    clock: Clock,
    started: Instant,
}

/// Serves the admin socket at `path` with tasks of `tasks` until `shutdown`.
///
/// # Errors
/// When the name cannot be had or the process lacks resources.
pub fn start(
    path: &Path,
    takeover: Takeover,
    insight: Insight,
    serving: Arc<Serving>,
    tasks: &TaskSet,
    shutdown: &Shutdown,
) -> Result<(), SocketError> {
    let (listener, publication) = uds::bind(path, ADMIN_MODE, takeover)?;
    let acceptor = Acceptor::start(listener, Greeting::record()?, Limits::default())?;
    let (clock, started) = (serving.clock.clone(), Instant::now());
    let doctor = DoctorServer::new(DoctorService { serving, insight: insight.clone() });
    let service = DebugService { insight, clock, started };
    let routes = Routes::new(DebugServer::new(service)).add_service(doctor).prepare();
    let serving = serve_all(acceptor, tasks.clone(), shutdown.clone(), move |_| {
        let routes = routes.clone();
        service_fn(move |request| routes.clone().oneshot(request).boxed())
    });
    tasks.spawn("admin socket", serving);
    publication.publish()?;
    Ok(())
}

#[tonic::async_trait]
impl Debug for DebugService {
    async fn get_info(
        &self,
        _: Request<GetInfoRequest>,
    ) -> Result<Response<GetInfoResponse>, Status> {
        let standing = self.insight.identity.standing().current();
        let chain = standing.svid().map(|svid| svid.chain().iter().map(certificate).collect());
        let bundle = self.insight.cache.own_bundle();
        // As SPIRE does, the authority that ends the chain is shown with it.
        let authority = standing.svid().and_then(|svid| {
            let authority = bundle.as_ref()?.authority_of(svid.chain().last()?)?;
            Some(certificate(&authority.certificate))
        });
        let mut svid_chain: Vec<Cert> = chain.unwrap_or_default();
        svid_chain.extend(authority);
        let now = self.clock.now();
        let count = i32::try_from(self.insight.cache.svid_count()).unwrap_or(i32::MAX);
        let last_sync = self.insight.sync.current().last_success(now);
        #[expect(deprecated, reason = "SPIRE's clients may still read it")]
        Ok(Response::new(GetInfoResponse {
            svid_chain,
            uptime: i32::try_from(self.started.elapsed().as_secs()).unwrap_or(i32::MAX),
            svids_count: count,
            last_sync_success: last_sync.map_or(0, unix_secs),
            cached_x509_svids_count: count,
            cached_jwt_svids_count: 0,
            cached_svidstore_x509_svids_count: 0,
        }))
    }
}

fn certificate(certificate: &Certificate) -> Cert {
    let uri = certificate.extensions().uris.first();
    let id = uri.and_then(|uri| SpiffeId::parse(uri).ok());
    Cert {
        id: id.as_ref().map(Spiffeid::from),
        expires_at: certificate.expires_at(),
        subject: certificate.subject().to_string(),
    }
}
