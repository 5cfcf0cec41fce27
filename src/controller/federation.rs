//! ClusterFederatedTrustDomains: checked, and told what became of them. Relationships need federation,
//! which the server does not have yet, so none is made and none is ever deleted.
//!
//! One task.

use super::{
    crd::{ClusterFederatedTrustDomain, CrdError},
    settings::ClassRule,
    status::{Ready, Report, StatusBoard},
};
use crate::{runtime::Shutdown, spiffe::TrustDomain};
use serde_json::Map;
use tokio::sync::mpsc::Receiver;

/// What the watch sends: an object, or the name of one that cannot be read.
pub(super) type FederationNews = Result<Box<ClusterFederatedTrustDomain>, (String, CrdError)>;

/// Tells what became of each object.
pub(super) struct Federation {
    pub(super) trust_domain: TrustDomain,
    pub(super) class: ClassRule,
    pub(super) news: Receiver<FederationNews>,
    pub(super) board: StatusBoard,
    pub(super) shutdown: Shutdown,
}

const KIND: &str = "ClusterFederatedTrustDomain";

impl Federation {
    /// Runs until the end of the program.
    pub(super) async fn run(mut self) {
        loop {
            let news = tokio::select! {
                biased;
                () = self.shutdown.requested() => return,
                news = self.news.recv() => news,
            };
            match news {
                Some(Ok(object)) if self.class.accepts(&object.spec.class_name) => {
                    let name = object.metadata.name.as_deref().unwrap_or_default();
                    self.board.put((KIND, name.into()), self.report(&object));
                }
                Some(Ok(_)) => {}
                Some(Err((name, error))) => {
                    let ready = Ready::No { reason: "Invalid", message: error.to_string() };
                    let report = Report { generation: None, ready, fields: Map::new() };
                    self.board.put((KIND, name.into()), report);
                }
                None => return,
            }
        }
    }

    fn report(&self, object: &ClusterFederatedTrustDomain) -> Report {
        let ready = match object.spec.check(&self.trust_domain) {
            Ok(_) => Ready::No {
                reason: "NotSupported",
                message: "the server does not federate yet: no relationship is made".to_owned(),
            },
            Err(error) => Ready::No { reason: "Invalid", message: error.to_string() },
        };
        Report { generation: object.metadata.generation, ready, fields: Map::new() }
    }
}
