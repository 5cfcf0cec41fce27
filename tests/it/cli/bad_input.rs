//! Input that nobody should type, servers that misbehave: an answer in words, exit 1, nothing hangs.

use super::{
    answers::{self, Answer, Answers},
    fake_agent::{self, Caller},
    programs::Programs,
    real_server,
    transcript::Outcome,
};
use finial::{
    runtime::TaskSet,
    wire::proto::spire::api::{
        server::entry::v1::{
            BatchCreateEntryRequest, BatchCreateEntryResponse, ListEntriesResponse,
            batch_create_entry_response,
        },
        types::{Entry, Selector, Spiffeid, Status},
    },
};
use prost::Message as _;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _, process::ExitStatusExt as _},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

const CREATE: &[&str] = &["entry", "create", "-data", "-"];

/// Answers every list of entries with these.
fn always(entries: Vec<Entry>) -> Answers {
    let list = ListEntriesResponse { entries, next_page_token: String::new() };
    Arc::new(move |_, _| Answer::of(&list))
}

async fn refused(programs: &Programs, arguments: &[&str], stdin: &[u8]) -> String {
    let outcome = programs.run("spire-server", arguments, stdin).await;
    assert_eq!((outcome.exit, outcome.stdout.as_str()), (1, ""), "{}", outcome.stderr);
    outcome.stderr
}

#[tokio::test]
async fn broken_entries_on_stdin_are_refused_in_words() {
    let programs = Programs::new();
    for (stdin, expected) in [
        ("", "unexpected end of JSON input"),
        ("{\"entries\": [", "unexpected end of JSON input"),
        ("nope", "invalid character 'o' in literal null (expecting 'u')"),
        ("[]", "expected an object {\"entries\": [...]}, found a list"),
        (
            "{\"entries\": [{\"admin\": 1}]}",
            "entry number 1: invalid type: integer `1`, expected a boolean",
        ),
        ("{\"entries\": [{}]}", "entry number 1: invalid SPIFFE ID: cannot be empty"),
    ] {
        let stderr = refused(&programs, CREATE, stdin.as_bytes()).await;
        assert_eq!(stderr, format!("Error: {expected}\n"));
    }
}

#[tokio::test]
async fn a_hundred_megabytes_on_stdin_are_refused() {
    let stderr = refused(&Programs::new(), CREATE, &vec![b' '; 100 << 20]).await;
    assert_eq!(
        stderr,
        "Error: standard input is larger than 64 MiB: split it into several files\n"
    );
}

#[tokio::test]
async fn a_byte_order_mark_is_skipped_and_an_unknown_field_named() {
    let programs = Programs::new();
    let server = real_server::start(&programs).await;
    let stdin = "\u{feff}{\"entries\": [{\"spiffe_id\": \"spiffe://example.org/w\", \
        \"parent_id\": \"spiffe://example.org/n\", \"federates_wiht\": [], \
        \"selectors\": [{\"type\": \"unix\", \"value\": \"uid:1\"}]}]}";
    let outcome = programs.run("spire-server", CREATE, stdin.as_bytes()).await;
    assert_eq!(outcome.exit, 0, "{}", outcome.stderr);
    assert_eq!(outcome.stderr, "warning: unknown field \"federates_wiht\" is ignored\n");
    assert!(outcome.stdout.contains("SPIFFE ID               : spiffe://example.org/w\n"));
    server.shutdown().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named() {
    let programs = Programs::new();
    for (file, why) in
        [("missing", "open missing: no such file or directory"), (".", "read .: is a directory")]
    {
        let stderr = refused(&programs, &["entry", "create", "-data", file], b"").await;
        assert_eq!(stderr, format!("Error: {why}\n"));
    }
}

#[tokio::test]
async fn flags_of_the_wrong_form_are_refused_with_the_usage() {
    let programs = Programs::new();
    for (arguments, expected) in [
        (
            &["entry", "show", "-output", "yaml"][..],
            "invalid value \"yaml\" for flag -output: bad formatter flag: unknown format option: \"yaml\"",
        ),
        (
            &["entry", "show", "-output", "json", "-output", "pretty"],
            "invalid value \"pretty\" for flag -output: the output format has already been set to \"json\"",
        ),
        (&["token", "generate", "-ttl", "10m"], "invalid value \"10m\" for flag -ttl: parse error"),
        (&["entry", "show", "-timeout", "0s"], "invalid value \"0s\" for flag -timeout"),
        (&["entry", "create", "-selector", "a:b", "c:d"], "unexpected argument \"c:d\""),
        (&["bundle", "show", "-format"], "flag needs an argument: -format"),
    ] {
        let stderr = refused(&programs, arguments, b"").await;
        assert!(stderr.starts_with(expected), "{stderr}");
        let usage = format!("\nUsage of {} {}:\n  -", arguments[0], arguments[1]);
        assert!(stderr.contains(&usage), "{stderr}");
    }
    let stderr = refused(&programs, &["bundle", "show", "-format", "der"], b"").await;
    assert_eq!(stderr, "Error: invalid format: \"der\"\n");
}

#[tokio::test]
async fn flags_without_a_server_are_checked_first() {
    let programs = Programs::new();
    let entry = |more: &[&'static str]| {
        let base = ["entry", "create", "-spiffeID", "spiffe://td/w", "-selector", "a:b"];
        [&base[..], more].concat()
    };
    for (arguments, expected) in [
        (entry(&["-node", "-federatesWith", "o"]), "node entries can not federate"),
        (
            entry(&["-parentID", "spiffe://td/n", "-jwtSVIDTTL", "-1"]),
            "a positive JWT-SVID TTL is required",
        ),
        (
            entry(&["-parentID", "spiffe://td/n", "-x509SVIDTTL", "2147483648"]),
            "invalid value for X509 SVID TTL: 2147483648 seconds, expected at most 2147483647",
        ),
        (vec!["agent", "evict"], "a SPIFFE ID is required"),
        (vec!["agent", "show", "-spiffeID", "x"], "scheme is missing or invalid"),
        (
            vec!["entry", "show", "-selector", "x"],
            "error parsing selectors: selector \"x\" must be formatted as type:value",
        ),
        (
            vec!["entry", "count", "-parentID", "x"],
            "error parsing parent ID \"x\": scheme is missing or invalid",
        ),
        (
            vec!["entry", "show", "-instance", "a"],
            "error fetching entries: you must define SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE to use the instance flag",
        ),
    ] {
        assert_eq!(refused(&programs, &arguments, b"").await, format!("Error: {expected}\n"));
    }
}

#[tokio::test]
async fn a_socket_that_is_none_is_told_apart() {
    let programs = Programs::new();
    programs.write("server.sock", "");
    let stderr = refused(&programs, &["agent", "count"], b"").await;
    let refusal = "Error: rpc error: code = Unavailable desc = connection error: desc = \"transport: \
                   Error while dialing: dial unix //DIR/server.sock: connect: connection refused\"\n";
    assert_eq!(stderr, format!("{refusal}hint: DIR/server.sock is not a socket\n"));

    fs::remove_file(programs.server_socket()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(programs.server_socket()).unwrap());
    let stderr = refused(&programs, &["agent", "count"], b"").await;
    let hint = "hint: nobody listens on DIR/server.sock: is the server running?\n";
    assert_eq!(stderr, format!("{refusal}{hint}"));

    let long = format!("DIR/{}", "s".repeat(120));
    let stderr = refused(&programs, &["agent", "count", "-socketPath", &long], b"").await;
    assert!(stderr.contains("connect: invalid argument"), "{stderr}");
}

#[tokio::test]
async fn a_forbidden_socket_is_told_apart() {
    let programs = Programs::new();
    let server = real_server::start(&programs).await;
    fs::set_permissions(programs.server_socket(), Permissions::from_mode(0o000)).unwrap();
    let outcome = programs.run("spire-server", &["agent", "count"], b"").await;
    server.shutdown().await;
    // Root may open it anyway.
    let expected = if rustix::process::geteuid().is_root() {
        (0, "")
    } else {
        (1, "connect: permission denied\"\nhint: DIR/server.sock may be opened by its owner only")
    };
    assert_eq!(outcome.exit, expected.0);
    assert!(outcome.stderr.contains(expected.1), "{}", outcome.stderr);
}

#[tokio::test]
async fn the_wrong_servers_socket_is_recognised() {
    let (programs, tasks) = (Programs::new(), TaskSet::new());
    fake_agent::serve(&programs.server_socket(), &tasks, Caller::Entitled);
    let stderr = refused(&programs, &["entry", "show"], b"").await;
    let expected = "Error: error fetching entries: rpc error: code = Unimplemented desc = unknown method\nhint: ";
    assert!(stderr.starts_with(expected), "{stderr}");
}

#[tokio::test]
async fn a_server_that_hangs_does_not_hang_the_shell() {
    let (programs, tasks) = (Programs::new(), TaskSet::new());
    answers::serve(&programs.server_socket(), &tasks, Arc::new(|_, _| Answer::Silence));
    let stderr = refused(&programs, &["entry", "count", "-timeout", "50ms"], b"").await;
    let expected = "Error: rpc error: code = DeadlineExceeded desc = no answer from DIR/server.sock within 50ms\nhint: ";
    assert!(stderr.starts_with(expected), "{stderr}");
    // Connects, but is not served: a server in the middle of its start.
    fs::remove_file(programs.server_socket()).unwrap();
    let _mid_start = std::os::unix::net::UnixListener::bind(programs.server_socket()).unwrap();
    let stderr = refused(&programs, &["entry", "count", "-timeout", "50ms"], b"").await;
    assert!(stderr.starts_with(expected), "{stderr}");
}

#[tokio::test]
async fn stored_text_and_messages_cannot_act_on_the_terminal() {
    let (programs, tasks) = (Programs::new(), TaskSet::new());
    let entry = Entry {
        id: "e".to_owned(),
        spiffe_id: Some(Spiffeid { trust_domain: "td".to_owned(), path: "/w".to_owned() }),
        selectors: vec![Selector { r#type: "\x1b[2J".to_owned(), value: "v\u{9b}1m".to_owned() }],
        hint: "\x1b]0;owned\x07".to_owned(),
        ..Entry::default()
    };
    answers::serve(&programs.server_socket(), &tasks, always(vec![entry]));
    for format in ["pretty", "json"] {
        let shown = programs.run("spire-server", &["entry", "show", "-output", format], b"").await;
        assert_eq!(shown.exit, 0, "{}", shown.stderr);
        let acts = |c: char| c.is_control() && c != '\n';
        assert!(!shown.stdout.contains(acts), "{:?}", shown.stdout);
    }
    let refusal = |_: &str, _| Answer::refusal(tonic::Code::Internal, "\x1b[31mred\r");
    fs::remove_file(programs.server_socket()).unwrap();
    answers::serve(&programs.server_socket(), &tasks, Arc::new(refusal));
    let stderr = refused(&programs, &["agent", "list"], b"").await;
    assert_eq!(stderr, "Error: rpc error: code = Internal desc = \\x1b[31mred\\r\n");
}

#[tokio::test]
async fn an_argument_that_is_no_text_is_refused() {
    let programs = Programs::new();
    let arguments = [OsStr::new("entry"), OsStr::new("show"), OsStr::from_bytes(b"-hint=\xff")];
    let output = programs.start("spire-server", &arguments).wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr, "argument 3 is not valid UTF-8: \"-hint=\u{fffd}\"\n");
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_the_command_quietly() {
    let (programs, tasks) = (Programs::new(), TaskSet::new());
    let entry = |index: usize| Entry { id: format!("e{index}"), ..Entry::default() };
    // More than a pipe holds, so that the command is still writing when nobody reads any more.
    let entries = always((0..5_000).map(entry).collect());
    answers::serve(&programs.server_socket(), &tasks, entries);
    let mut child = programs.start("spire-server", &["entry", "show"]);
    let mut first = [0; 5];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).await.unwrap();
    drop(stdout);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(
        (&first, output.status.code(), output.stderr.as_slice()),
        (b"Found", Some(0), &b""[..])
    );
}

#[tokio::test]
async fn many_entries_go_out_in_parts_and_come_back_in_pages() {
    let programs = Programs::new();
    let server = real_server::start(&programs).await;
    let entry = |index: usize| {
        format!(
            r#"{{"spiffe_id": "spiffe://example.org/w{index}", "parent_id": "spiffe://example.org/n",
                "selectors": [{{"type": "unix", "value": "uid:{index}"}}]}}"#
        )
    };
    let entries: Vec<String> = (0..1_200).map(entry).collect();
    let stdin = format!(r#"{{"entries": [{}]}}"#, entries.join(","));
    let created = programs.run("spire-server", CREATE, stdin.as_bytes()).await;
    assert_eq!((created.exit, created.stderr.as_str()), (0, ""));
    assert_eq!(created.stdout.matches("Entry ID ").count(), 1_200);
    let shown = programs.run("spire-server", &["entry", "show"], b"").await;
    assert!(shown.stdout.starts_with("Found 1200 entries\n"));
    assert_eq!(shown.stdout.matches("Entry ID ").count(), 1_200);
    server.shutdown().await;
}

#[tokio::test]
async fn a_signal_ends_a_batch_at_once_and_what_was_written_stays() {
    let programs = Programs::new();
    let (reached, mut second_part) = tokio::sync::mpsc::channel(1);
    let parts = AtomicUsize::new(0);
    let answer = move |_: &str, request| {
        if parts.fetch_add(1, Ordering::Relaxed) == 1 {
            reached.try_send(()).unwrap();
            return Answer::Silence;
        }
        let entries = BatchCreateEntryRequest::decode(request).unwrap().entries;
        let created = |entry| batch_create_entry_response::Result {
            status: Some(Status { code: 0, message: "OK".to_owned() }),
            entry: Some(entry),
        };
        Answer::of(&BatchCreateEntryResponse {
            results: entries.into_iter().map(created).collect(),
        })
    };
    let tasks = TaskSet::new();
    answers::serve(&programs.server_socket(), &tasks, Arc::new(answer));
    let entry = r#"{"spiffe_id": "spiffe://example.org/w", "parent_id": "spiffe://example.org/n",
                    "selectors": [{"type": "unix", "value": "uid:1"}]}"#;
    let entries = vec![entry; 501].join(",");
    programs.write("entries.json", &format!("{{\"entries\": [{entries}]}}"));
    let create = programs.start("spire-server", &["entry", "create", "-data", "entries.json"]);
    second_part.recv().await.unwrap();
    let pid = Pid::from_raw(i32::try_from(create.id().unwrap()).unwrap()).unwrap();
    // As SIGINT does, which is ignored where a shell has started all of this in the background.
    kill_process(pid, Signal::TERM).unwrap();
    let output = create.wait_with_output().await.unwrap();
    assert_eq!(output.status.signal(), Some(Signal::TERM.as_raw()));
}

#[tokio::test]
async fn watch_goes_on_when_its_stream_ends() {
    let (programs, tasks) = (Programs::new(), TaskSet::new());
    // Ends each stream after one update, as an agent does that is upgraded.
    fake_agent::serve(&programs.agent_socket(), &tasks, Caller::Entitled);
    let mut watch = programs.start("spire-agent", &["api", "watch"]);
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.starts_with("Received 1 svid after ") {
                break;
            }
        }
    }
    watch.kill().await.unwrap();
    let mut stderr = String::new();
    watch.stderr.take().unwrap().read_to_string(&mut stderr).await.unwrap();
    let told = "rpc error: code = Unavailable desc = the agent ended the stream\n";
    assert!(stderr.starts_with(told), "{stderr}");
}

#[tokio::test]
async fn a_key_is_never_written_where_others_can_read_it() {
    let (programs, tasks) = (Programs::new(), TaskSet::new());
    fake_agent::serve(&programs.agent_socket(), &tasks, Caller::Entitled);
    let key = programs.path().join("w2/svid.0.key");
    fs::write(&key, "old").unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o666)).unwrap();
    let fetch = ["api", "fetch", "-silent", "-write", "DIR/w2"];
    assert_eq!(programs.run("spire-agent", &fetch, b"").await.exit, 0);
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let missing = ["api", "fetch", "-silent", "-write", "DIR/none"];
    let outcome = programs.run("spire-agent", &missing, b"").await;
    assert_eq!(outcome.exit, 1);
    assert!(outcome.stderr.starts_with("cannot write DIR/none/svid.0.pem: "), "{}", outcome.stderr);
}

#[tokio::test]
async fn flags_before_the_command_are_refused() {
    let programs = Programs::new();
    let Outcome { exit, stderr, .. } =
        programs.run("spire-server", &["-output=json", "entry", "show"], b"").await;
    assert_eq!(exit, 1);
    assert!(stderr.starts_with("unexpected -output=json: flags follow the command\n"), "{stderr}");
}
