use super::*;
use crate::telemetry::metrics::Identity;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::Instant,
};

struct Server {
    address: SocketAddr,
    readiness: Readiness,
    shutdown: Shutdown,
    tasks: TaskSet,
}

impl Server {
    async fn start() -> Self {
        let listener = listen("127.0.0.1:0".parse().unwrap(), "tests").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (readiness, shutdown, tasks) = (Readiness::new(), Shutdown::new(), TaskSet::new());
        let (live_path, ready_path) = ("/live".to_owned(), "/ready".to_owned());
        let health = HealthChecks { bind: address, live_path, ready_path };
        let identity =
            Identity { program: "spire_agent", trust_domain: "example.org", version: "1" };
        let pages = Pages::new()
            .with_health(&health, &["agent"], readiness.clone())
            .with_metrics(Metrics::new(identity, |_| {}));
        tasks.spawn("http", serve(listener, pages, tasks.clone(), shutdown.clone()));
        Self { address, readiness, shutdown, tasks }
    }

    /// Sends `request` and reads to the end: status line and body.
    async fn ask(&self, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
    }

    async fn get(&self, path: &str) -> (String, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await
    }
}

#[tokio::test]
async fn health_is_shown_as_spire_shows_it() {
    let server = Server::start().await;
    let sync = server.readiness.part("sync", "the first sync with the server");
    assert_eq!(server.get("/live").await, ("HTTP/1.1 200 OK".into(), "{\"agent\":{}}\n".into()));
    let (status, body) = server.get("/ready").await;
    assert_eq!(status, "HTTP/1.1 500 Internal Server Error");
    assert_eq!(
        body,
        "{\"agent\":{},\"sync\":{\"waits_for\":\"the first sync with the server\"}}\n"
    );
    sync.ready();
    assert_eq!(server.get("/ready").await, ("HTTP/1.1 200 OK".into(), "{\"agent\":{}}\n".into()));
}

#[tokio::test]
async fn metrics_are_shown_and_nothing_else_is_done() {
    let server = Server::start().await;
    let (status, body) = server.get("/metrics").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(body.starts_with("# HELP spire_agent_started") && body.ends_with("# EOF\n"), "{body}");
    assert_eq!(server.get("/../etc/passwd").await.0, "HTTP/1.1 404 Not Found");
    let post = "POST /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(server.ask(post).await.0, "HTTP/1.1 405 Method Not Allowed");
    let (status, body) = server.ask("HEAD /live HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 200 OK", ""));
    let endless = format!("GET /live HTTP/1.1\r\nX: {}", "x".repeat(MAX_REQUEST_BYTES));
    assert!(server.ask(&endless).await.0.starts_with("HTTP/1.1 4"));
    assert!(server.ask("garbage\r\n\r\n").await.0.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_in_time() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /live HTTP/1.1\r\n").await.unwrap();
    tokio::time::pause();
    let since = Instant::now();
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    assert!((HEADER_WITHIN..ANSWER_WITHIN).contains(&since.elapsed()), "{:?}", since.elapsed());
}

#[tokio::test]
async fn shutdown_closes_the_listener_and_idle_connections() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(server.get("/live").await.0, "HTTP/1.1 200 OK");
    server.shutdown.request();
    assert_eq!(server.tasks.finish(Duration::from_secs(5)).await, 0);
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(server.address).await.is_err());
}
