//! What the agent's commands ask of an agent, answered with one identity or refused.

use super::answers::{self, Answer};
use finial::{
    runtime::{Clock, TaskSet, clock::unix_secs},
    spiffe::SpiffeId,
    testing::ca::TestCa,
    wire::proto::{
        spire::{
            agent::debug::v1::{GetInfoResponse, get_info_response::Cert},
            api::types::Spiffeid,
        },
        workload::{X509svid, X509svidResponse},
    },
};
use std::{path::Path, sync::Arc, time::Duration};
use tonic::Code;
use tonic_health::pb::{HealthCheckResponse, health_check_response::ServingStatus};

/// Whether the caller has an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Entitled,
    Unknown,
}

/// Serves the Workload API, health and debug on one socket.
pub(crate) fn serve(path: &Path, tasks: &TaskSet, caller: Caller) {
    let answer = svids();
    answers::serve(
        path,
        tasks,
        Arc::new(move |method, _| match method {
            "SpiffeWorkloadAPI/FetchX509SVID" if caller == Caller::Entitled => Answer::of(&answer),
            "SpiffeWorkloadAPI/FetchX509SVID" => {
                Answer::refusal(Code::PermissionDenied, "no identity issued")
            }
            "grpc.health.v1.Health/Check" => {
                Answer::of(&HealthCheckResponse { status: ServingStatus::Serving.into() })
            }
            "spire.agent.debug.v1.Debug/GetInfo" => Answer::of(&info()),
            _ => Answer::refusal(Code::Unimplemented, "unknown method"),
        }),
    );
}

/// As after the CA rotation of the recorded session: two authorities.
fn svids() -> X509svidResponse {
    let now = Clock::system().now();
    let (ca, old) = (TestCa::new("example.org", now), TestCa::new("example.org", now));
    let id = SpiffeId::parse("spiffe://example.org/w").unwrap();
    let svid = ca.svid(&id, Duration::from_secs(3_600));
    let authorities = [ca.authority().certificate(), old.authority().certificate()];
    let svid = X509svid {
        spiffe_id: svid.id().to_string(),
        x509_svid: svid.chain()[0].der().clone(),
        x509_svid_key: svid.key().pkcs8_der().to_vec().into(),
        bundle: authorities.map(|authority| authority.der().to_vec()).concat().into(),
        hint: String::new(),
    };
    X509svidResponse { svids: vec![svid], ..X509svidResponse::default() }
}

fn info() -> GetInfoResponse {
    let now = unix_secs(Clock::system().now());
    let certificate = |path: &str, subject: &str| Cert {
        id: Some(Spiffeid { trust_domain: "example.org".to_owned(), path: path.to_owned() }),
        expires_at: now + 3_600,
        subject: subject.to_owned(),
    };
    let agent = "/spire/agent/join_token/9a75bcca-76e1-4684-8625-5b3276909f0f";
    let authority = "SERIALNUMBER=1559600509098966639387760500490161098,O=SPIFFE,C=US";
    #[allow(deprecated, reason = "the field is on the wire and must be shown")]
    GetInfoResponse {
        svid_chain: vec![certificate(agent, "O=SPIRE,C=US"), certificate("", authority)],
        uptime: 13,
        svids_count: 5,
        last_sync_success: now,
        cached_x509_svids_count: 5,
        cached_jwt_svids_count: 1,
        cached_svidstore_x509_svids_count: 0,
    }
}
