//! The bundle service: the trust domain's own bundle for everybody, federated ones for agents.
//!
//! Reads the store's memory only. Who may call is decided before a request gets here.

use crate::{
    server::store::Store,
    spiffe::{Bundle, TrustDomain, id},
    transport::status::Kind,
    wire::{
        self,
        proto::spire::api::{
            server::bundle::v1::{
                CountBundlesRequest, CountBundlesResponse, GetBundleRequest,
                GetFederatedBundleRequest, bundle_server,
            },
            types,
        },
    },
};
use tonic::{Request, Response, Status};

/// The bundle service of one trust domain.
#[derive(Clone)]
pub struct BundleService {
    trust_domain: TrustDomain,
    store: Store,
}

/// A bundle that is not given. The texts are SPIRE's.
#[derive(Debug, thiserror::Error)]
enum BundleRequestError {
    #[error("trust domain argument is not valid: {0}")]
    TrustDomain(#[from] id::Error),
    #[error("getting a federated bundle for the server's own trust domain is not allowed")]
    OwnTrustDomain,
    #[error("bundle not found")]
    NotFound,
}

impl BundleService {
    /// Serves the bundles of `store` as a server of `trust_domain`.
    #[must_use]
    pub const fn new(trust_domain: TrustDomain, store: Store) -> Self {
        Self { trust_domain, store }
    }

    fn bundle(
        &self,
        trust_domain: &TrustDomain,
        mask: Option<&types::BundleMask>,
    ) -> Result<types::Bundle, BundleRequestError> {
        let bundle = self.store.bundle(trust_domain).ok_or(BundleRequestError::NotFound)?;
        let mut bundle = types::Bundle::from(AsRef::<Bundle>::as_ref(&bundle));
        wire::bundle::apply_mask(&mut bundle, mask);
        Ok(bundle)
    }

    fn federated(
        &self,
        request: &GetFederatedBundleRequest,
    ) -> Result<types::Bundle, BundleRequestError> {
        let trust_domain = TrustDomain::parse_name_or_id(&request.trust_domain)?;
        if trust_domain == self.trust_domain {
            return Err(BundleRequestError::OwnTrustDomain);
        }
        self.bundle(&trust_domain, request.output_mask.as_ref())
    }
}

impl BundleRequestError {
    const fn kind(&self) -> Kind {
        match self {
            Self::TrustDomain(_) | Self::OwnTrustDomain => Kind::Invalid,
            Self::NotFound => Kind::NotFound,
        }
    }
}

impl From<BundleRequestError> for Status {
    fn from(error: BundleRequestError) -> Self {
        error.kind().status(error.to_string())
    }
}

#[tonic::async_trait]
impl bundle_server::Bundle for BundleService {
    async fn count_bundles(
        &self,
        _request: Request<CountBundlesRequest>,
    ) -> Result<Response<CountBundlesResponse>, Status> {
        let count = i32::try_from(self.store.bundles().len()).unwrap_or(i32::MAX);
        Ok(Response::new(CountBundlesResponse { count }))
    }

    async fn get_bundle(
        &self,
        request: Request<GetBundleRequest>,
    ) -> Result<Response<types::Bundle>, Status> {
        let mask = request.get_ref().output_mask.as_ref();
        Ok(Response::new(self.bundle(&self.trust_domain, mask)?))
    }

    async fn get_federated_bundle(
        &self,
        request: Request<GetFederatedBundleRequest>,
    ) -> Result<Response<types::Bundle>, Status> {
        Ok(Response::new(self.federated(request.get_ref())?))
    }
}
