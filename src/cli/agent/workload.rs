//! The Workload API's X.509-SVID stream as a client sees it.

use crate::{
    transport::channel::MAX_MESSAGE_BYTES,
    wire::proto::workload::{
        X509svidRequest, X509svidResponse, spiffe_workload_api_client::SpiffeWorkloadApiClient,
    },
};
use tonic::{Request, Status, Streaming, metadata::MetadataValue, transport::Channel};

/// Opens the stream, with the header that says this is no request forged by a browser (SPIFFE Workload
/// Endpoint §3).
///
/// # Errors
/// When the agent refuses.
pub(super) async fn updates(channel: Channel) -> Result<Streaming<X509svidResponse>, Status> {
    let mut request = Request::new(X509svidRequest {});
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    let mut client =
        SpiffeWorkloadApiClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    Ok(client.fetch_x509svid(request).await?.into_inner())
}

/// The next answer on the stream.
///
/// # Errors
/// When the stream ends instead.
pub(super) async fn next(
    updates: &mut Streaming<X509svidResponse>,
) -> Result<X509svidResponse, Status> {
    let ended = || Status::unavailable("the agent ended the stream");
    updates.message().await?.ok_or_else(ended)
}
