//! AdmissionReview v1: what the API server asks, and the answer with its `uid`. Pure.

use super::judge::{Judge, Verdict};
use kube::core::{
    DynamicObject,
    admission::{AdmissionRequest, AdmissionResponse, AdmissionReview, Operation},
};

/// What upstream's manifests call, and the same for static entries.
const PATHS: [&str; 3] = [
    "/validate-spire-spiffe-io-v1alpha1-clusterspiffeid",
    "/validate-spire-spiffe-io-v1alpha1-clusterfederatedtrustdomain",
    "/validate-spire-spiffe-io-v1alpha1-clusterstaticentry",
];

/// What is asked is no review.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReviewError {
    /// Not the JSON of one.
    #[error("expected an AdmissionReview of admission.k8s.io/v1: {0}")]
    Json(#[from] serde_json::Error),
    /// A review without a question.
    #[error("expected an AdmissionReview with a request")]
    NoRequest,
}

/// Whether there is a webhook at `path`. Which kind it is for, each request says itself.
pub(super) fn is_served(path: &str) -> bool {
    PATHS.contains(&path)
}

/// The answer to the review in `body`, as JSON.
///
/// # Errors
/// When `body` is no review.
pub(super) fn answer(body: &[u8], judge: &Judge) -> Result<Vec<u8>, ReviewError> {
    let review: AdmissionReview<DynamicObject> = serde_json::from_slice(body)?;
    let request: AdmissionRequest<DynamicObject> =
        review.try_into().map_err(|_| ReviewError::NoRequest)?;
    let mut response = AdmissionResponse::from(&request);
    // What is deleted need not make sense any more.
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    if let Some(object) = request.object.filter(|_| writes) {
        match judge.judge(&request.kind.kind, object) {
            Verdict::Good { warnings } => {
                response.warnings = Some(warnings).filter(|warnings| !warnings.is_empty());
            }
            Verdict::Bad { reason } => response = response.deny(reason),
        }
    }
    Ok(serde_json::to_vec(&response.into_review())?)
}
