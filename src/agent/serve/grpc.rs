//! gRPC framing (gRPC over HTTP/2, "Length-Prefixed-Message") for the SDS streams, which are too many
//! and too hot for buffers of 16 KiB each: messages in as they arrive, frames out as shared bytes.

use crate::transport::{RequestBody, status::Kind};
use bytes::{Buf, BufMut, Bytes, BytesMut, buf::Chain};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::BodyExt;
use prost::Message;
use std::marker::PhantomData;
use tonic::Status;

/// A frame: bytes made for this stream, then bytes shared with others.
pub type Data = Chain<Bytes, Bytes>;

/// The requests of one stream, decoded one by one.
pub(super) struct Requests<T> {
    body: RequestBody,
    /// What has arrived and is not decoded yet. Empty, and without memory, between messages.
    buffer: BytesMut,
    message: PhantomData<fn() -> T>,
}

/// The first request of an Istio proxy is 61 kB, mostly extensions; 1 MiB leaves room for pods with
/// many labels and bounds what a hostile one can make us hold (istio-envoy.md §20 T3).
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// Compressed-Flag and Message-Length.
const PREFIX_BYTES: usize = 5;

impl<T: Message + Default> Requests<T> {
    pub(super) fn new(body: RequestBody) -> Self {
        Self { body, buffer: BytesMut::new(), message: PhantomData }
    }

    /// The next request; `None` when the client has said all. Dropping it loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<T>, Status> {
        loop {
            if let Some(message) = self.decode()? {
                return Ok(Some(message));
            }
            let Some(frame) = self.body.frame().await else {
                return if self.buffer.is_empty() { Ok(None) } else { Err(truncated()) };
            };
            let frame = frame.map_err(|error| Kind::Unavailable.status(error.to_string()))?;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    fn decode(&mut self) -> Result<Option<T>, Status> {
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let [compressed, length @ ..] = *prefix;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if compressed != 0 {
            return Err(Kind::Unsupported
                .status("compressed messages are not supported; send grpc-encoding: identity"));
        }
        if length > MAX_MESSAGE_BYTES {
            return Err(Kind::Exhausted.status(format!(
                "request of {length} bytes, expected at most {MAX_MESSAGE_BYTES}"
            )));
        }
        let Some(message) = rest.get(..length) else {
            // Once, and no more than the message: growing in steps would leave holes of every size.
            let missing = length - rest.len();
            self.buffer.reserve(missing);
            return Ok(None);
        };
        let decoded = T::decode(message)
            .map_err(|error| Kind::Internal.status(format!("malformed request: {error}")))?;
        self.buffer.advance(PREFIX_BYTES + length);
        if self.buffer.is_empty() {
            // A first request is a thousand times larger than later ones: give its memory back.
            self.buffer = BytesMut::new();
        }
        Ok(Some(decoded))
    }
}

fn truncated() -> Status {
    Kind::Internal.status("the stream ended within a message")
}

/// A length-prefixed message that is being written.
pub(super) struct Frame(BytesMut);

impl Frame {
    /// Begins with the fields of `message`.
    pub(super) fn of(message: &impl Message) -> Self {
        let mut octets = BytesMut::with_capacity(PREFIX_BYTES + message.encoded_len() + ROOM);
        octets.put_bytes(0, PREFIX_BYTES);
        // Fails only when the buffer cannot grow, and this one always can.
        let _ = message.encode(&mut octets);
        Self(octets)
    }

    /// Begins one more field, of `length` octets, by its tag.
    pub(super) fn field(&mut self, tag: u8, length: usize) {
        self.0.put_u8(tag);
        let _ = prost::encode_length_delimiter(length, &mut self.0);
    }

    /// Goes on with a copy of `octets`.
    pub(super) fn copy(&mut self, octets: &[u8]) {
        self.0.put_slice(octets);
    }

    /// Ends with `shared` octets, which are not copied.
    pub(super) fn end(mut self, shared: Bytes) -> Data {
        let length = self.0.len() - PREFIX_BYTES + shared.len();
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.0[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
        self.0.freeze().chain(shared)
    }
}

/// For the tag and the length of one more field.
const ROOM: usize = 8;

/// The trailers that end a stream.
pub(super) fn trailers(result: &Result<(), Status>) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    let written = match result {
        Ok(()) => Status::new(tonic::Code::Ok, "").add_header(&mut trailers),
        Err(status) => status.add_header(&mut trailers),
    };
    if written.is_err() {
        // A message that no header can carry: the code alone (INTERNAL) must do.
        trailers.insert("grpc-status", HeaderValue::from_static("13"));
    }
    trailers
}

/// The response of a stream whose frames are `body`.
pub(super) fn response<B>(body: B) -> Response<B> {
    let mut response = Response::new(body);
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
    response
}
