//! Response bodies: one written by an async function, one that tonic made.
//!
//! The async function is polled by the connection that sends its frames, so a stream needs no task and
//! no channel. While the client does not read, the function rests: it holds one frame at most.

use super::grpc::{self, Data};
use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use parking_lot::Mutex;
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tonic::Status;

/// The body of any answer on the workload socket.
pub enum ServeBody {
    /// A stream of ours.
    Stream(StreamBody),
    /// What tonic answered.
    Tonic(tonic::body::Body),
}

/// The frames that an async function sends, and trailers with its result.
pub struct StreamBody {
    stage: Stage,
    outbox: Outbox,
}

enum Stage {
    Running(Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>),
    Ended,
}

/// Where the function puts its frames.
#[derive(Clone, Default)]
pub(super) struct Outbox(Arc<Mutex<Option<Data>>>);

impl Outbox {
    /// Hands `frame` to the transport and waits until that has taken it. Dropping it may lose the frame.
    pub(super) async fn send(&self, frame: Data) {
        *self.0.lock() = Some(frame);
        // Whoever takes the frame polls the function again afterwards: no waker is needed.
        poll_fn(|_| if self.0.lock().is_some() { Poll::Pending } else { Poll::Ready(()) }).await;
    }
}

impl StreamBody {
    /// A body that `write` writes.
    pub(super) fn new<F>(write: impl FnOnce(Outbox) -> F) -> Self
    where
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let outbox = Outbox::default();
        let running = Box::pin(write(outbox.clone()));
        Self { stage: Stage::Running(running), outbox }
    }
}

impl Body for StreamBody {
    type Data = Data;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Status>>> {
        let this = self.get_mut();
        let Stage::Running(function) = &mut this.stage else { return Poll::Ready(None) };
        let ended = function.as_mut().poll(context);
        if let Some(frame) = this.outbox.0.lock().take() {
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        let Poll::Ready(result) = ended else { return Poll::Pending };
        this.stage = Stage::Ended;
        Poll::Ready(Some(Ok(Frame::trailers(grpc::trailers(&result)))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }
}

impl Body for ServeBody {
    type Data = Data;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Status>>> {
        match self.get_mut() {
            Self::Stream(body) => Pin::new(body).poll_frame(context),
            Self::Tonic(body) => Pin::new(body).poll_frame(context).map(|frame| {
                frame.map(|frame| frame.map(|f| f.map_data(|data| data.chain(Bytes::new()))))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Stream(body) => body.is_end_stream(),
            Self::Tonic(body) => body.is_end_stream(),
        }
    }
}
