//! The TLS listener under hands that mean no good.

use super::fixture::{Fixture, spec};
use finial::{
    runtime::TaskSet,
    wire::proto::spire::api::server::agent::v1::{PostStatusRequest, agent_client::AgentClient},
};
use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};
use tokio::{net::TcpSocket, time::Instant};

/// One handshake by the openssl command; what it says of itself. `None` where it is not installed.
async fn openssl(address: SocketAddr, arguments: Vec<String>) -> Option<String> {
    TaskSet::blocking(move || {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &address.to_string(), "-alpn", "h2"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn no_session_is_ever_resumed() {
    let fixture = Fixture::start().await;
    let address = fixture.server.local_addr;
    for version in ["-tls1_3", "-tls1_2"] {
        let session = fixture.dir.path().join(format!("session{version}"));
        let file = session.display().to_string();
        let kept = vec![version.to_owned(), "-sess_out".to_owned(), file.clone()];
        let Some(first) = openssl(address, kept).await else { return };
        assert!(first.contains("New, TLSv1"), "{first}");
        if !session.exists() {
            // Without a ticket there is nothing to keep.
            continue;
        }
        let again = vec![version.to_owned(), "-sess_in".to_owned(), file];
        let second = openssl(address, again).await.unwrap();
        assert!(!second.contains("Reused"), "{second}");
    }
}

#[tokio::test]
async fn versions_before_tls_1_2_are_refused() {
    let fixture = Fixture::start().await;
    let old = vec!["-tls1_1".to_owned(), "-cipher".to_owned(), "DEFAULT@SECLEVEL=0".to_owned()];
    let Some(answer) = openssl(fixture.server.local_addr, old).await else { return };
    assert!(!answer.contains("BEGIN CERTIFICATE"), "{answer}");
}

#[tokio::test]
async fn a_flood_of_silent_connections_from_elsewhere_does_not_disturb_an_agent() {
    let fixture = Fixture::start().await;
    let agent = fixture.agent().await;
    let address = fixture.server.local_addr;
    let mut flood = Vec::new();
    for _ in 0..600 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.66:0".parse().unwrap()).unwrap();
        flood.push(socket.connect(address).await.unwrap());
    }
    let began = Instant::now();
    let mut client = AgentClient::new(fixture.connect_as(&agent.svid).await);
    let request = PostStatusRequest { agent_version: "1".to_owned(), ..Default::default() };
    client.post_status(request).await.unwrap();
    fixture.create_entry(spec(agent.svid.id(), "/w")).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    drop(flood);
}
