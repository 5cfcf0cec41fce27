//! The two directions of one HTTP/2 stream: what a client sends as an HTTP body, and the answer to it.
//!
//! A frame is asked for when the client's window has room for its first octet, so that a client that
//! does not read has one frame waiting at most. Runs within its connection's task.

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::service::Service;
use std::{
    io::IoSlice,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// What a client sends on one stream.
#[derive(Debug)]
pub struct RequestBody {
    stream: RecvStream,
    has_data: bool,
}

/// A frame's payload; nothing at the end of a body without trailers.
pub(super) struct Payload<D>(Option<D>);

/// The answer to one request: what the service gives, sent to the end of its body or until the client
/// resets the stream. Dropping it resets the stream.
pub(super) struct Answer<S, B>
where
    S: Service<Request<RequestBody>>,
    B: Body,
{
    respond: SendResponse<Payload<B::Data>>,
    stage: Stage<S, B>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "a stream is one allocation, and a request is short-lived"
)]
enum Stage<S, B>
where
    S: Service<Request<RequestBody>>,
    B: Body,
{
    Asking { service: Arc<S>, request: Request<RequestBody> },
    Called(S::Future),
    Sending { stream: SendStream<Payload<B::Data>>, body: B },
    Over,
}

/// What of an answer is still to come.
#[derive(PartialEq, Eq)]
enum Rest {
    Frames,
    Nothing,
}

/// Why an answer did not come to its end.
enum Broken {
    /// The client does not want it any more, or the connection has ended.
    Transport,
    /// The service or its body failed.
    Service,
}

impl RequestBody {
    pub(super) const fn new(stream: RecvStream) -> Self {
        Self { stream, has_data: true }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if self.has_data {
            match ready!(self.stream.poll_data(context)) {
                Some(Ok(data)) => {
                    // Taken over by the reader: the window opens again.
                    self.stream.flow_control().release_capacity(data.len())?;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(end_or(error)),
                None => self.has_data = false,
            }
        }
        match ready!(self.stream.poll_trailers(context)) {
            Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
            Err(error) => Poll::Ready(end_or(error)),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}

/// A client that resets its stream politely has said all that it wanted to say (RFC 9113 §8.1).
fn end_or<T>(error: h2::Error) -> Option<Result<T, h2::Error>> {
    match error.reason() {
        Some(Reason::NO_ERROR | Reason::CANCEL) => None,
        _ => Some(Err(error)),
    }
}

impl<S, B> Answer<S, B>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    B: Body,
{
    /// The answer of `service` to `request`, which is asked with the first poll.
    pub(super) const fn new(
        service: Arc<S>,
        request: Request<RequestBody>,
        respond: SendResponse<Payload<B::Data>>,
    ) -> Self {
        Self { respond, stage: Stage::Asking { service, request } }
    }
}

impl<S, B> Future for Answer<S, B>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Future: Unpin>,
    B: Body + Unpin,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let broken = match ready!(self.poll_to_end(context)) {
            Ok(()) | Err(Broken::Transport) => return Poll::Ready(()),
            Err(Broken::Service) => Reason::INTERNAL_ERROR,
        };
        self.respond.send_reset(broken);
        Poll::Ready(())
    }
}

impl<S, B> Answer<S, B>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Future: Unpin>,
    B: Body + Unpin,
{
    fn poll_to_end(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            match &mut self.stage {
                Stage::Asking { .. } => {
                    if let Stage::Asking { service, request } =
                        mem::replace(&mut self.stage, Stage::Over)
                    {
                        self.stage = Stage::Called(service.call(request));
                    }
                }
                Stage::Called(call) => match Pin::new(call).poll(context) {
                    Poll::Ready(Ok(response)) => self.begin(response)?,
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Service)),
                    // Reset or broken: nobody waits for the answer.
                    Poll::Pending => {
                        return self.respond.poll_reset(context).map(|_| Err(Broken::Transport));
                    }
                },
                Stage::Sending { stream, body } => {
                    let frame = ready!(poll_frame(body, stream, context))?;
                    if put(stream, frame, body.is_end_stream())? == Rest::Nothing {
                        self.stage = Stage::Over;
                    }
                }
                Stage::Over => return Poll::Ready(Ok(())),
            }
        }
    }

    fn begin(&mut self, response: Response<B>) -> Result<(), Broken> {
        let (head, body) = response.into_parts();
        let is_empty = body.is_end_stream();
        // Fails on headers that HTTP/2 does not know, or when the client has gone.
        let sent = self.respond.send_response(Response::from_parts(head, ()), is_empty);
        let stream = sent.map_err(|_| Broken::Service)?;
        self.stage = if is_empty { Stage::Over } else { Stage::Sending { stream, body } };
        Ok(())
    }
}

/// The next frame of `body`, once the client has room for it.
fn poll_frame<B: Body + Unpin>(
    body: &mut B,
    stream: &mut SendStream<Payload<B::Data>>,
    context: &mut Context<'_>,
) -> Poll<Result<Option<Frame<B::Data>>, Broken>> {
    stream.reserve_capacity(1);
    while stream.capacity() == 0 {
        match ready!(stream.poll_capacity(context)) {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Poll::Ready(Err(Broken::Transport)),
        }
    }
    match Pin::new(body).poll_frame(context) {
        Poll::Ready(frame) => Poll::Ready(frame.transpose().map_err(|_| Broken::Service)),
        Poll::Pending => stream.poll_reset(context).map(|_| Err(Broken::Transport)),
    }
}

/// Hands `frame` to HTTP/2, which sends it as the client's window allows.
fn put<D: Buf>(
    stream: &mut SendStream<Payload<D>>,
    frame: Option<Frame<D>>,
    is_last: bool,
) -> Result<Rest, Broken> {
    let Some(frame) = frame else {
        stream.send_data(Payload(None), true).map_err(gone)?;
        return Ok(Rest::Nothing);
    };
    match frame.into_data() {
        Ok(data) => {
            stream.send_data(Payload(Some(data)), is_last).map_err(gone)?;
            Ok(if is_last { Rest::Nothing } else { Rest::Frames })
        }
        Err(frame) => {
            stream.reserve_capacity(0);
            let trailers = frame.into_trailers().unwrap_or_default();
            stream.send_trailers(trailers).map_err(gone)?;
            Ok(Rest::Nothing)
        }
    }
}

/// What h2 refuses to send, it refuses because the stream has ended.
fn gone(_: h2::Error) -> Broken {
    Broken::Transport
}

impl<D: Buf> Buf for Payload<D> {
    fn remaining(&self) -> usize {
        self.0.as_ref().map_or(0, Buf::remaining)
    }

    fn chunk(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], Buf::chunk)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.0.as_ref().map_or(0, |data| data.chunks_vectored(slices))
    }

    fn advance(&mut self, count: usize) {
        if let Some(data) = &mut self.0 {
            data.advance(count);
        }
    }
}

#[cfg(test)]
mod tests;
