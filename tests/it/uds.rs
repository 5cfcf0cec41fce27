//! The agent's socket as its peers meet it: found, greeted, served, taken over, never lost.

use crate::csi::node::in_own_mounts;
use bytes::Bytes;
use finial::{
    runtime::{Shutdown, TaskSet},
    transport::{
        Acceptor, Ended, Greeting, Limits, PeerCred, RequestBody, Takeover, serve, serve_all, uds,
    },
};
use http_body_util::Full;
use hyper::{Request, Response, service::service_fn};
use rustix::{
    mount::{UnmountFlags, mount_bind, unmount},
    process::{Resource, getrlimit, setrlimit},
};
use std::{
    convert::Infallible,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _, symlink},
        net::{UnixDatagram, UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

/// A running server on a socket.
struct Server {
    path: PathBuf,
    shutdown: Shutdown,
    tasks: TaskSet,
}

impl Server {
    /// Serves at `path`: "/hello" says which process asks, "/hold" answers at shutdown, "/panic" panics.
    fn start(path: &Path, takeover: Takeover) -> Self {
        let (listener, publication) = uds::bind(path, 0o777, takeover).unwrap();
        let acceptor =
            Acceptor::start(listener, Greeting::record().unwrap(), Limits::default()).unwrap();
        publication.publish().unwrap();
        let (shutdown, tasks) = (Shutdown::new(), TaskSet::new());
        let held = shutdown.clone();
        let service = move |_: &Arc<PeerCred>| {
            let held = held.clone();
            service_fn(move |request| Box::pin(answer(request, held.clone())))
        };
        tasks.spawn("accept", serve_all(acceptor, tasks.clone(), shutdown.clone(), service));
        Self { path: path.to_owned(), shutdown, tasks }
    }

    async fn connect(&self) -> h2::client::SendRequest<Bytes> {
        let stream = tokio::net::UnixStream::connect(&self.path).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        TaskSet::new().spawn("client", async move { drop(connection.await) });
        client
    }
}

async fn answer(
    request: Request<RequestBody>,
    held: Shutdown,
) -> Result<Response<Full<Bytes>>, Infallible> {
    match request.uri().path() {
        "/hold" => held.requested().await,
        "/panic" => panic!("expected by this test"),
        _ => {}
    }
    let peer = request.extensions().get::<Arc<PeerCred>>().unwrap();
    Ok(Response::new(Full::new(Bytes::from(peer.pid.to_string()))))
}

/// Asks for `path`; the answer's body.
async fn ask(client: &mut h2::client::SendRequest<Bytes>, path: &str) -> Result<Bytes, h2::Error> {
    let request = Request::get(format!("http://localhost{path}")).body(()).unwrap();
    client.clone().ready().await?;
    let (response, _) = client.send_request(request, true)?;
    let mut body = response.await?.into_body();
    body.data().await.unwrap_or_else(|| Ok(Bytes::new()))
}

fn own_pid() -> String {
    std::process::id().to_string()
}

/// Reads one whole frame: its type and stream.
fn read_frame(stream: &mut impl std::io::Read) -> (u8, u32) {
    let mut header = [0; 9];
    stream.read_exact(&mut header).unwrap();
    let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
    let mut payload = vec![0; length.try_into().unwrap()];
    stream.read_exact(&mut payload).unwrap();
    (header[3], u32::from_be_bytes(header[5..9].try_into().unwrap()))
}

const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

#[tokio::test(flavor = "current_thread")]
async fn settings_arrive_although_the_runtime_is_blocked() {
    let directory = TempDir::new().unwrap();
    let server = Server::start(&directory.path().join("socket"), Takeover::Refuse);
    // Blocking reads on the one thread of the runtime: nothing else can run until they are done.
    let mut streams: Vec<_> = (0..50).map(|_| UnixStream::connect(&server.path).unwrap()).collect();
    for stream in &mut streams {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(read_frame(stream), (SETTINGS, 0));
    }
    // And those who were greeted so are served like any other.
    let stream = streams.pop().unwrap();
    assert_eq!(ask_over(stream).await, own_pid());
}

/// Asks over a connection whose SETTINGS were read already, which a client waits for: so puts
/// an empty frame in their place.
async fn ask_over(stream: UnixStream) -> Bytes {
    stream.set_nonblocking(true).unwrap();
    let (reader, writer) = tokio::net::UnixStream::from_std(stream).unwrap().into_split();
    let settings: &[u8] = &[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0];
    let reader = tokio::io::AsyncReadExt::chain(settings, reader);
    let (mut client, connection) =
        h2::client::handshake(tokio::io::join(reader, writer)).await.unwrap();
    TaskSet::new().spawn("client", async move { drop(connection.await) });
    ask(&mut client, "/hello").await.unwrap()
}

#[test]
fn a_thousand_connects_at_once_are_all_greeted() {
    // Both ends and a pidfd each, in this one process.
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).unwrap();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("socket");
    let (listener, publication) = uds::bind(&path, 0o777, Takeover::Refuse).unwrap();
    let limits = Limits { connections: 1_000, per_process: 1_000 };
    let _acceptor = Acceptor::start(listener, Greeting::record().unwrap(), limits).unwrap();
    publication.publish().unwrap();
    let mut streams: Vec<_> = (0..1_000).map(|_| UnixStream::connect(&path).unwrap()).collect();
    for stream in &mut streams {
        assert_eq!(read_frame(stream), (SETTINGS, 0));
    }
}

#[tokio::test]
async fn a_panicking_request_leaves_the_connection_and_the_server_alone() {
    let directory = TempDir::new().unwrap();
    let server = Server::start(&directory.path().join("socket"), Takeover::Refuse);
    let mut client = server.connect().await;
    let error = ask(&mut client, "/panic").await.unwrap_err();
    assert!(error.is_reset(), "{error}");
    assert_eq!(ask(&mut client, "/hello").await.unwrap(), own_pid());
}

#[tokio::test]
async fn shutdown_says_goaway_ends_the_held_streams_and_leaves_the_socket() {
    let directory = TempDir::new().unwrap();
    let server = Server::start(&directory.path().join("socket"), Takeover::Refuse);
    let mut client = server.connect().await;
    let mut asking = client.clone();
    let (hold, answered) = tokio::sync::oneshot::channel();
    TaskSet::new()
        .spawn("held", async move { hold.send(ask(&mut asking, "/hold").await).unwrap() });
    assert_eq!(ask(&mut client, "/hello").await.unwrap(), own_pid());
    server.shutdown.request();
    assert_eq!(answered.await.unwrap().unwrap(), own_pid(), "a held stream may end in order");
    assert_eq!(server.tasks.finish(Duration::from_secs(5)).await, 0);
    let error = ask(&mut client, "/hello").await.unwrap_err();
    assert!(error.is_go_away() || error.is_io(), "{error}");
    assert!(fs::symlink_metadata(&server.path).unwrap().file_type().is_socket());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_idle_connection_gets_goaway_at_shutdown() {
    let directory = TempDir::new().unwrap();
    let server = Server::start(&directory.path().join("socket"), Takeover::Refuse);
    let mut stream = UnixStream::connect(&server.path).unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    assert_eq!(read_frame(&mut stream), (SETTINGS, 0));
    assert_eq!(read_frame(&mut stream), (SETTINGS, 0), "the ACK of ours");
    server.shutdown.request();
    while read_frame(&mut stream).0 != GOAWAY {}
    drop(stream);
    assert_eq!(server.tasks.finish(Duration::from_secs(5)).await, 0);
}

#[tokio::test]
async fn a_new_agent_takes_the_name_over_while_the_old_one_serves_on() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("socket");
    let old = Server::start(&path, Takeover::Refuse);
    let mut on_old = old.connect().await;
    assert_eq!(ask(&mut on_old, "/hello").await.unwrap(), own_pid());
    let error = uds::bind(&path, 0o777, Takeover::Refuse).unwrap_err();
    assert!(matches!(&error, uds::BindError::InUse { pid, .. } if pid.to_string() == own_pid()));

    let new = Server::start(&path, Takeover::Replace);
    assert_eq!(ask(&mut on_old, "/hello").await.unwrap(), own_pid());
    old.shutdown.request();
    assert_eq!(old.tasks.finish(Duration::from_secs(5)).await, 0);
    let mut on_new = new.connect().await;
    assert_eq!(ask(&mut on_new, "/hello").await.unwrap(), own_pid(), "the old end took nothing");
}

#[test]
fn nothing_but_a_socket_of_ours_or_a_dead_one_is_ever_replaced() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("file"), "precious").unwrap();
    fs::create_dir(at("directory")).unwrap();
    symlink(at("nowhere"), at("dangling")).unwrap();
    let stranger = UnixListener::bind(at("stranger")).unwrap();
    let _datagram = UnixDatagram::bind(at("datagram")).unwrap();
    drop(UnixListener::bind(at("dead")).unwrap());

    for takeover in [Takeover::Refuse, Takeover::Replace] {
        for name in ["file", "directory", "dangling"] {
            let error = uds::bind(&at(name), 0o777, takeover).unwrap_err();
            assert!(matches!(error, uds::BindError::NotASocket { .. }), "{name}: {error}");
        }
        for name in ["stranger", "datagram"] {
            let error = uds::bind(&at(name), 0o777, takeover).unwrap_err();
            assert!(matches!(error, uds::BindError::Stranger { .. }), "{name}: {error}");
        }
    }
    assert_eq!(fs::read_to_string(at("file")).unwrap(), "precious");
    assert!(fs::read_link(at("dangling")).is_ok());
    drop(stranger);

    let (_listener, publication) = uds::bind(&at("dead"), 0o640, Takeover::Refuse).unwrap();
    publication.publish().unwrap();
    assert!(UnixStream::connect(at("dead")).is_ok());
    assert_eq!(fs::metadata(at("dead")).unwrap().permissions().mode() & 0o7777, 0o640);
    assert_eq!(temporaries_in(directory.path()), 0);
}

#[test]
fn a_file_that_appears_before_the_rename_stays() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("socket");
    let (_listener, publication) = uds::bind(&path, 0o777, Takeover::Refuse).unwrap();
    fs::write(&path, "precious").unwrap();
    let error = publication.publish().unwrap_err();
    assert!(matches!(error, uds::BindError::NotASocket { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    assert_eq!(temporaries_in(directory.path()), 0, "an unpublished socket is taken away");
}

#[test]
fn a_missing_directory_is_made_and_one_that_others_may_write_is_refused() {
    let directory = TempDir::new().unwrap();
    let nested = directory.path().join("a/b/socket");
    let (_listener, publication) = uds::bind(&nested, 0o777, Takeover::Refuse).unwrap();
    publication.publish().unwrap();
    for made in ["a", "a/b"] {
        let mode = fs::metadata(directory.path().join(made)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755, "{made}");
    }
    let open = directory.path().join("open");
    fs::create_dir(&open).unwrap();
    for (mode, refused) in [(0o777, true), (0o1777, false), (0o775, false)] {
        fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
        let bound = uds::bind(&open.join("socket"), 0o777, Takeover::Refuse);
        let was_refused = matches!(bound, Err(uds::BindError::WritableByOthers { .. }));
        assert_eq!(was_refused, refused, "mode {mode:o}");
    }
}

/// Kubernetes makes every emptyDir so.
#[test]
fn a_volume_that_others_may_write_is_made_sticky_and_used() {
    in_own_mounts(async || {
        let directory = TempDir::new().unwrap();
        let (made, volume) = (directory.path().join("made"), directory.path().join("volume"));
        for path in [&made, &volume] {
            fs::create_dir(path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        }
        mount_bind(&made, &volume).unwrap();
        let (_listener, publication) =
            uds::bind(&volume.join("socket"), 0o777, Takeover::Refuse).unwrap();
        publication.publish().unwrap();
        assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o7777, 0o1777);
        unmount(&volume, UnmountFlags::DETACH).unwrap();
    });
}

#[test]
fn an_unfit_path_is_refused_before_anything_is_made() {
    let directory = TempDir::new().unwrap();
    let long = directory.path().join("d").join("x".repeat(100));
    let error = uds::bind(&long, 0o777, Takeover::Refuse).unwrap_err();
    assert!(matches!(error, uds::BindError::TooLong { .. }), "{error}");
    assert!(!directory.path().join("d").exists());
    let error = uds::bind(Path::new("/"), 0o777, Takeover::Refuse).unwrap_err();
    assert!(matches!(error, uds::BindError::NoName { .. }), "{error}");
    let in_a_file = directory.path().join("file");
    fs::write(&in_a_file, "").unwrap();
    let error = uds::bind(&in_a_file.join("socket"), 0o777, Takeover::Refuse).unwrap_err();
    assert!(matches!(error, uds::BindError::Directory { .. }), "{error}");
}

#[test]
fn only_dead_temporary_sockets_are_swept() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    drop(UnixListener::bind(at(".finial-00000001")).unwrap());
    let _live = UnixListener::bind(at(".finial-00000002")).unwrap();
    fs::write(at(".finial-00000003"), "").unwrap();
    drop(UnixListener::bind(at("other")).unwrap());
    let (_listener, publication) = uds::bind(&at("socket"), 0o777, Takeover::Refuse).unwrap();
    publication.publish().unwrap();
    assert!(!at(".finial-00000001").exists());
    assert_eq!(temporaries_in(directory.path()), 2);
    assert!(at("other").exists());
}

fn temporaries_in(directory: &Path) -> usize {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with(".finial-")).count()
}

/// Starts this test binary again to run only `role`, one of the tests below, on `socket`.
fn process(role: &str, socket: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("uds::{role}"), "--nocapture"])
        .env(SOCKET, socket)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Set for processes that a test starts; without it their roles do nothing.
const SOCKET: &str = "FINIAL_TEST_SOCKET";

/// Waits for the line with which a process says `what`; what follows it.
fn said(child: &mut Child, what: &str) -> String {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map(Result::unwrap);
    lines.find_map(|line| Some(line.split_once(what)?.1.trim().to_owned())).unwrap()
}

#[expect(clippy::print_stdout, reason = "read by the test that started this process")]
fn say(line: &str) {
    println!("\n{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_connection_ends_with_the_process_that_opened_it_even_if_another_holds_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("socket");
    let (listener, publication) = uds::bind(&path, 0o777, Takeover::Refuse).unwrap();
    let greeting = Greeting::record().unwrap();
    let mut acceptor = Acceptor::start(listener, greeting, Limits::default()).unwrap();
    publication.publish().unwrap();
    let mut opener = process("role_opens_and_leaves", &path);
    let holder = said(&mut opener, "holder:");
    let accepted = acceptor.next().await.unwrap();
    let peer = Arc::clone(accepted.peer());
    assert_eq!(peer.pid.unsigned_abs(), opener.id());
    assert!(peer.is_alive());
    let hello = service_fn(|request| Box::pin(answer(request, Shutdown::new())));
    let served = serve(hello, accepted, Shutdown::new());
    drop(opener.stdin.take());
    assert!(matches!(served.await, Ended::PeerExited));
    assert!(!peer.is_alive());
    assert!(Path::new("/proc").join(&holder).exists(), "the holder must outlive the opener");
    opener.wait().unwrap();
    let holder = rustix::process::Pid::from_raw(holder.parse().unwrap()).unwrap();
    rustix::process::kill_process(holder, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn role_opens_and_leaves() {
    let Some(socket) = std::env::var_os(SOCKET) else { return };
    let stream = UnixStream::connect(socket).unwrap();
    let mut sleep = Command::new("sleep");
    let holder = sleep.arg("600").stdin(std::os::fd::OwnedFd::from(stream)).stdout(Stdio::null());
    say(&format!("holder: {}", holder.spawn().unwrap().id()));
    drop(std::io::stdin().lines().next());
}

#[test]
fn out_of_descriptors_the_server_refuses_slowly_and_recovers() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("socket");
    let mut server = process("role_serves_with_few_descriptors", &path);
    said(&mut server, "ready");
    let (started, before) = (tokio::time::Instant::now(), cpu_ticks(server.id()));
    let mut streams: Vec<_> = (0..50).map(|_| UnixStream::connect(&path).unwrap()).collect();
    for stream in &mut streams {
        assert_eq!(read_frame(stream), (SETTINGS, 0), "even those who must go away are greeted");
    }
    let ticks = cpu_ticks(server.id()) - before;
    let elapsed = started.elapsed();
    assert!(elapsed > Duration::from_millis(500), "{elapsed:?}: the limit was not reached");
    assert!(Duration::from_millis(10 * ticks) < elapsed / 4, "{ticks} ticks in {elapsed:?}");
    drop(streams);
    let recovered = (0..40).any(|_| {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
        assert_eq!(read_frame(&mut stream), (SETTINGS, 0));
        read_frame(&mut stream).0 == SETTINGS
    });
    assert!(recovered, "connections are served again once there are descriptors");
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
}

/// What a process has used of the CPU, in hundredths of a second.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test]
async fn role_serves_with_few_descriptors() {
    let Some(socket) = std::env::var_os(SOCKET) else { return };
    let mut files = getrlimit(Resource::Nofile);
    files.current = Some(40);
    setrlimit(Resource::Nofile, files).unwrap();
    let server = Server::start(Path::new(&socket), Takeover::Refuse);
    say("ready");
    TaskSet::blocking(|| drop(std::io::stdin().lines().next())).await.unwrap();
    server.shutdown.request();
    assert_eq!(server.tasks.finish(Duration::from_secs(9)).await, 0);
}
