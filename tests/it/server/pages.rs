//! What probes and dashboards see.

use super::fixture::{Fixture, config};
use finial::{
    config::listen::{HealthChecks, Prometheus},
    server::authorize::METHODS,
    wire::proto::spire::api::server::agent::v1::{GetAgentRequest, agent_client::AgentClient},
};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

async fn fixture() -> Fixture {
    let fixture = Fixture::start().await;
    let mut config = config(fixture.dir.path());
    let bind = SocketAddr::from(([127, 0, 0, 1], 0));
    let (live_path, ready_path) = ("/live".to_owned(), "/ready".to_owned());
    config.health_checks = Some(HealthChecks { bind, live_path, ready_path });
    config.prometheus = Some(Prometheus { bind });
    fixture.restart_with(config).await
}

async fn get(address: Option<SocketAddr>, path: &str) -> String {
    let mut stream = TcpStream::connect(address.unwrap()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_server_that_can_sign_is_live_ready_and_serving() {
    let fixture = fixture().await;
    let part = fixture.server.readiness().clone();
    assert!(part.missing().is_empty(), "{:?}", part.missing());
    for path in ["/live", "/ready"] {
        let answer = get(fixture.server.health_addr, path).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let expected =
            r#"{"catalog.datastore":{},"server":{},"server.ca":{},"server.ca.rotator":{}}"#;
        assert!(answer.contains(expected), "{answer}");
    }
    let mut health = HealthClient::new(fixture.local().await);
    let answer = health.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(answer.get_ref().status, 1, "SERVING");
    let request = HealthCheckRequest { service: "agent".to_owned() };
    let error = health.check(request).await.unwrap_err();
    assert_eq!(error.message(), "per-service health is not supported");
}

#[tokio::test]
async fn metrics_have_spires_names_and_count_every_call_by_its_outcome() {
    let fixture = fixture().await;
    let agent = fixture.agent().await;
    let mut client = AgentClient::new(fixture.local().await);
    let ids = [agent.svid.id().clone(), super::fixture::id("/spire/agent/none")];
    for id in &ids {
        let request = GetAgentRequest { id: Some(id.into()), output_mask: None };
        drop(client.get_agent(request).await);
    }
    drop(AgentClient::new(fixture.anonymous().await).get_agent(GetAgentRequest::default()).await);
    let page = get(fixture.server.metrics_addr, "/metrics").await;
    let value = |name: &str, labels: &[&str]| -> Option<f64> {
        let line = page.lines().find(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        })?;
        line.rsplit(' ').next()?.parse().ok()
    };
    let get_agent = "spire_server_rpc_agent_v1_agent_get_agent";
    for status in ["OK", "NotFound", "PermissionDenied"] {
        let label = format!("status=\"{status}\"");
        assert_eq!(value(get_agent, &[&label]), Some(1.0), "{status}\n{page}");
    }
    assert_eq!(
        value("spire_server_rpc_agent_v1_agent_attest_agent", &["status=\"OK\""]),
        Some(1.0)
    );
    assert_eq!(value("spire_server_started", &["trust_domain_id=\"example_org\""]), Some(1.0));
    assert_eq!(value("spire_server_agents", &[]), Some(1.0));
    for name in [
        "uptime_in_ms",
        "manager_x509_ca_rotate_expiration",
        "manager_x509_ca_rotate_ttl",
        "ca_rotations",
        "entries",
        "watching_agents",
    ] {
        assert!(value(&format!("spire_server_{name}"), &[]).is_some(), "{name} is missing");
    }
    let types = page.lines().filter(|line| {
        line.starts_with("# TYPE spire_server_rpc_") && line.ends_with("_seconds histogram")
    });
    assert_eq!(types.count(), METHODS.len(), "{page}");
}
