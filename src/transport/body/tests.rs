use super::*;
use crate::{
    runtime::{Shutdown, TaskSet},
    transport::{Acceptor, Greeting, Limits, Takeover, serve, uds},
};
use futures_util::future::{self, BoxFuture};
use h2::client::SendRequest;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::service::service_fn;
use std::{convert::Infallible, time::Duration};
use tokio::{net::UnixStream, sync::oneshot, time::timeout};

type Bodies = BoxFuture<'static, Result<Response<Answers>, &'static str>>;
type Answers = Pin<Box<dyn Body<Data = Bytes, Error = Infallible> + Send>>;

/// A client of a connection on which `service` answers.
async fn client_of(
    service: impl Fn(Request<RequestBody>) -> Bodies + Send + Sync + 'static,
) -> SendRequest<Bytes> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let (listener, publication) = uds::bind(&path, 0o777, Takeover::Refuse).unwrap();
    let greeting = Greeting::record().unwrap();
    let mut acceptor = Acceptor::start(listener, greeting, Limits::default()).unwrap();
    publication.publish().unwrap();
    let stream = UnixStream::connect(&path).await.unwrap();
    let accepted = acceptor.next().await.unwrap();
    let service = service_fn(service);
    TaskSet::new().spawn("server", async move {
        serve(service, accepted, Shutdown::new()).await;
    });
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    TaskSet::new().spawn("client", async move { drop(connection.await) });
    client
}

fn request() -> Request<()> {
    Request::post("http://localhost/").body(()).unwrap()
}

fn whole(body: Bytes) -> Response<Answers> {
    Response::new(Box::pin(Full::new(body)))
}

async fn read_all(mut body: RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut read = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        read.extend_from_slice(&data);
    }
    Ok(read)
}

#[tokio::test]
async fn what_is_sent_comes_back_whole_however_long_it_is() {
    let mut client = client_of(|request| {
        Box::pin(async move {
            let body = request.into_body().collect().await.map_err(|_| "no request")?;
            Ok(whole(body.to_bytes()))
        })
    })
    .await;
    // Many times what either side's window takes at once.
    let long: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let (response, mut stream) = client.send_request(request(), false).unwrap();
    let sending = async {
        for piece in long.chunks(10_000) {
            stream.reserve_capacity(piece.len());
            while stream.capacity() < piece.len() {
                future::poll_fn(|context| stream.poll_capacity(context)).await.unwrap().unwrap();
            }
            stream.send_data(Bytes::copy_from_slice(piece), false).unwrap();
        }
        stream.send_data(Bytes::new(), true).unwrap();
    };
    let reading = async { read_all(response.await.unwrap().into_body()).await.unwrap() };
    let ((), read) = future::join(sending, reading).await;
    assert!(read == long);
}

#[tokio::test]
async fn a_failed_call_resets_its_stream_and_no_other() {
    let mut client = client_of(|request| {
        let fails = request.uri().path() == "/fails";
        Box::pin(async move { if fails { Err("expected") } else { Ok(whole(Bytes::new())) } })
    })
    .await;
    let fails = Request::get("http://localhost/fails").body(()).unwrap();
    let (response, _) = client.send_request(fails, true).unwrap();
    assert_eq!(response.await.unwrap_err().reason(), Some(Reason::INTERNAL_ERROR));
    let (response, _) = client.send_request(request(), true).unwrap();
    assert!(response.await.unwrap().into_body().is_end_stream());
}

/// Tells when it is dropped.
struct Guard(Option<oneshot::Sender<()>>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.take().unwrap().send(()).unwrap();
    }
}

#[tokio::test]
async fn a_client_that_resets_its_stream_ends_the_call_and_the_body() {
    for answers in [false, true] {
        let ((begin, begun), (sender, dropped)) = (oneshot::channel(), oneshot::channel());
        let call = parking_lot::Mutex::new(Some((begin, Guard(Some(sender)))));
        let mut client = client_of(move |_| {
            let (begin, guard) = call.lock().take().unwrap();
            Box::pin(async move {
                begin.send(()).unwrap();
                if !answers {
                    future::pending::<()>().await;
                }
                let frames = futures_util::stream::poll_fn(move |_| {
                    let _held = &guard;
                    Poll::<Option<Result<Frame<Bytes>, Infallible>>>::Pending
                });
                let body: Answers = Box::pin(StreamBody::new(frames));
                Ok(Response::new(body))
            })
        })
        .await;
        let (response, mut stream) = client.send_request(request(), true).unwrap();
        begun.await.unwrap();
        if answers {
            response.await.unwrap();
        }
        stream.send_reset(Reason::CANCEL);
        let ended = timeout(Duration::from_secs(10), dropped).await;
        ended.expect("the client went, and its call goes on").unwrap();
    }
}
