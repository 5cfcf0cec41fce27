//! The HTTP/2 settings of the Unix socket, in one place: the greeting is recorded from them.

use h2::server;

/// Largest frame we accept, the protocol's default; HEADERS are buffered up to it.
pub(super) const MAX_FRAME_BYTES: usize = 16_384;

/// Envoy opens one stream per secret; a gateway may hold hundreds (istio-proxy advertises 100,000).
const MAX_STREAMS: u32 = 1_000;
/// Envoy's first request on a stream is about 61 kB, and two come at once: more than the protocol's
/// default of 64 KiB per connection, which would stall the second until we had read the first.
const STREAM_WINDOW_BYTES: u32 = 256 * 1_024;
const CONNECTION_WINDOW_BYTES: u32 = 1_024 * 1_024;
/// gRPC metadata of real clients stays below 1 KiB; above this h2 refuses the stream.
const MAX_HEADER_LIST_BYTES: u32 = 16 * 1_024;
/// What a slow reader may make us hold per stream.
const MAX_SEND_BUFFER_BYTES: usize = 256 * 1_024;
/// Rapid reset (CVE-2023-44487): h2 closes the connection with `ENHANCE_YOUR_CALM` beyond these.
const MAX_PENDING_RESETS: usize = 20;
const MAX_LOCAL_RESETS: usize = 1_024;

/// A server with these settings.
///
/// No keepalive: the kernel tells when a local peer is gone, and pings would wake an idle agent.
pub(super) fn builder() -> server::Builder {
    let mut builder = server::Builder::new();
    if let Ok(frame) = u32::try_from(MAX_FRAME_BYTES) {
        builder.max_frame_size(frame);
    }
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .max_send_buffer_size(MAX_SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(Some(MAX_LOCAL_RESETS));
    builder
}
