//! `api fetch sds`, the command that asks as an Envoy does.

use super::{programs::Programs, transcript::Outcome};
use finial::{
    runtime::Clock,
    spiffe::SpiffeId,
    testing::{
        ca::TestCa,
        sds_server::{SdsServer, certificate_secret, validation_secret},
    },
};
use serde_json::Value;
use std::time::Duration;

/// An agent, and the authority of its trust domain.
struct Agent {
    programs: Programs,
    server: SdsServer,
    ca: TestCa,
}

impl Agent {
    fn new() -> Self {
        let programs = Programs::new();
        let server = SdsServer::bind(&programs.path().join("sds.sock"));
        Self { programs, server, ca: authority() }
    }

    fn gives_identity_of(&self, ca: &TestCa) {
        let id = SpiffeId::parse("spiffe://example.org/w").unwrap();
        self.server.serve(certificate_secret("default", &ca.svid(&id, Duration::from_secs(3_600))));
    }

    fn gives_bundle(&self) {
        self.server.serve(validation_secret("ROOTCA", &[&self.ca.bundle(1, &[])]));
    }

    async fn fetch(&self, more: &[&str]) -> Outcome {
        let socket = self.programs.path().join("sds.sock").display().to_string();
        let arguments = [&["api", "fetch", "sds", "-socketPath", &socket], more].concat();
        self.programs.run("spire-agent", &arguments, b"").await
    }
}

fn authority() -> TestCa {
    TestCa::new("example.org", Clock::system().now())
}

#[tokio::test]
async fn the_secrets_of_a_sidecar_are_shown_without_a_key() {
    let agent = Agent::new();
    agent.gives_bundle();
    agent.gives_identity_of(&agent.ca);
    let shown = agent.fetch(&[]).await;
    assert_eq!(shown.exit, 0, "{}", shown.stderr);
    assert!(shown.stdout.starts_with("Received 2 secrets after "), "{}", shown.stdout);
    for line in [
        "\nSecret:\t\t\tdefault\nSPIFFE ID:\t\tspiffe://example.org/w\nSVID Valid After:\t",
        "\nSecret:\t\t\tROOTCA\n[example.org] CA #1 Valid After:\t",
    ] {
        assert!(shown.stdout.contains(line), "{}", shown.stdout);
    }

    let json = agent.fetch(&["-output", "json"]).await.stdout;
    let value: Value = serde_json::from_str(&json).unwrap();
    let [bundle, identity] = value["secrets"].as_array().unwrap().as_slice() else {
        panic!("{json}")
    };
    assert_eq!(identity["spiffe_id"], "spiffe://example.org/w");
    assert_eq!(bundle["trusted"][0]["trust_domain"], "example.org");
    assert!(!json.contains("PRIVATE"), "{json}");
}

#[tokio::test]
async fn what_an_agent_holds_back_is_named_when_the_time_is_over() {
    let agent = Agent::new();
    agent.gives_bundle();
    let refused = agent.fetch(&["-timeout", "1s"]).await;
    assert_eq!((refused.exit, refused.stdout.as_str()), (1, ""));
    assert!(refused.stderr.contains("no secret \"default\" within 1s"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("ROOTCA"), "{}", refused.stderr);
}

#[tokio::test]
async fn only_what_is_asked_for_by_name_is_waited_for() {
    let agent = Agent::new();
    agent.gives_bundle();
    let shown = agent.fetch(&["-name", "ROOTCA"]).await;
    assert_eq!(shown.exit, 0, "{}", shown.stderr);
    assert!(shown.stdout.starts_with("Received 1 secret after "), "{}", shown.stdout);
}

#[tokio::test]
async fn an_identity_that_the_bundle_beside_it_does_not_verify_is_refused() {
    let agent = Agent::new();
    agent.gives_bundle();
    agent.gives_identity_of(&authority());
    let refused = agent.fetch(&[]).await;
    assert_eq!((refused.exit, refused.stdout.as_str()), (1, ""));
    let expected = "the trust bundle beside it does not verify spiffe://example.org/w";
    assert!(refused.stderr.contains(expected), "{}", refused.stderr);
}
