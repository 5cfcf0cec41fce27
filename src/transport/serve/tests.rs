use super::*;
use crate::transport::{Greeting, Limits, Takeover, patience, uds};
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use std::{convert::Infallible, path::Path};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::oneshot,
    time::Instant,
};

/// Serves one connection at `path` with "hello" for every request; gives how it ended.
fn serve_one(path: &Path, shutdown: &Shutdown) -> oneshot::Receiver<Ended> {
    let (listener, publication) = uds::bind(path, 0o777, Takeover::Refuse).unwrap();
    let greeting = Greeting::record().unwrap();
    let mut acceptor = Acceptor::start(listener, greeting, Limits::default()).unwrap();
    publication.publish().unwrap();
    let (report, ended) = oneshot::channel();
    let shutdown = shutdown.clone();
    TaskSet::new().spawn("server", async move {
        let accepted = acceptor.next().await.unwrap();
        let hello = service_fn(|_| {
            future::ready(Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(
                b"hello",
            )))))
        });
        report.send(serve(hello, accepted, shutdown).await).unwrap();
    });
    ended
}

#[tokio::test]
async fn a_silent_connection_is_closed_and_one_that_has_asked_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        (&b""[..], Missing::Preface, patience::PREFACE_WITHIN),
        (
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..],
            Missing::Request,
            patience::REQUEST_WITHIN,
        ),
    ];
    for (sent, expected, after) in cases {
        let path = directory.path().join(format!("{expected:?}"));
        let mut ended = serve_one(&path, &Shutdown::new());
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(sent).await.unwrap();
        // SETTINGS alone while the client is silent; their ACK shows that the preface was read.
        let mut octets = [0; 9 + 9 + 64];
        while stream.read(&mut octets).await.unwrap() < 9 {}
        let silent_since = Instant::now();
        tokio::time::pause();
        tokio::time::advance(after - Duration::from_millis(10)).await;
        assert!(ended.try_recv().is_err(), "{expected:?} is missing too early");
        let ended = ended.await.unwrap();
        tokio::time::resume();
        assert!(matches!(ended, Ended::Silent(missing) if missing == expected), "{ended:?}");
        assert!(silent_since.elapsed() >= after - Duration::from_millis(50));
    }
}
