//! The endpoint as Istio's quick start and the chart write it, and what is refused.

use super::*;
use crate::config::{Environment, Loaded, Source};
use crate::server::config::{Overrides, ServerConfig, read};
use std::path::Path;

fn load(federation: &str) -> Result<Loaded<ServerConfig>, String> {
    let text = format!(
        r#"server {{ trust_domain = "example.org" data_dir = "/d" federation {{ {federation} }} }}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = "/d/s" }} }}
  KeyManager "memory" {{ plugin_data {{}} }}
}}"#
    );
    let source = Source::new(Path::new("server.conf"), text.into_bytes(), Environment::Literal);
    read(&source.unwrap(), &Overrides::default()).map_err(|error| error.to_string())
}

fn endpoint(secs: u64) -> Option<BundleEndpoint> {
    let refresh_hint = Duration::from_secs(secs);
    Some(BundleEndpoint { bind: "0.0.0.0:8443".parse().unwrap(), refresh_hint })
}

#[test]
fn the_quick_starts_endpoint_has_no_profile_and_is_warned_about_in_spires_words() {
    let loaded = load("bundle_endpoint { address = \"0.0.0.0\" port = 8443 }").unwrap();
    assert_eq!(loaded.config.bundle_endpoint, endpoint(300));
    assert_eq!(loaded.warnings, [Warning::NoEndpointProfile]);
}

#[test]
fn the_profile_is_read_as_spires_documentation_and_the_chart_write_it() {
    for profile in [
        "profile \"https_spiffe\" {}",
        "profile { https_spiffe {} }",
        "profile = [{ https_spiffe = {} }]",
    ] {
        let text =
            format!("bundle_endpoint {{ port = \"8443\" refresh_hint = \"10m\" {profile} }}");
        let loaded = load(&text).unwrap();
        assert_eq!(loaded.config.bundle_endpoint, endpoint(600), "{profile}");
        assert_eq!(loaded.warnings, []);
    }
    let chart = r#"{"server": {"trust_domain": "example.org", "data_dir": "/d", "federation": {
        "bundle_endpoint": {"address": "0.0.0.0", "port": 8443, "refresh_hint": "5m",
                            "profile": [{"https_spiffe": {}}]}}},
      "plugins": {"KeyManager": [{"memory": {"plugin_data": {}}}], "DataStore": [{"sql": {"plugin_data":
        {"database_type": "sqlite3", "connection_string": "/d/s"}}}]}}"#;
    let source =
        Source::new(Path::new("server.conf"), chart.as_bytes().to_vec(), Environment::Literal);
    let loaded = read(&source.unwrap(), &Overrides::default()).unwrap();
    assert_eq!(loaded.config.bundle_endpoint, endpoint(300));
    assert_eq!(loaded.warnings, []);
}

#[test]
fn hints_that_do_not_help_a_reader_are_warned_about() {
    for (hint, warning) in [("24h", Warning::LongRefreshHint), ("59s", Warning::ShortRefreshHint)] {
        let profile = "profile \"https_spiffe\" {}";
        let text = format!("bundle_endpoint {{ port = 1 refresh_hint = \"{hint}\" {profile} }}");
        assert_eq!(load(&text).unwrap().warnings, [warning]);
    }
}

#[test]
fn what_is_not_built_or_makes_no_endpoint_is_refused() {
    let unsupported = "is a SPIRE setting that finial does not support yet";
    for (text, wanted) in [
        (
            "bundle_endpoint { port = 1 profile \"https_web\" { acme { domain_name = \"x\" } } }",
            format!("{PROFILE}.https_web {unsupported}"),
        ),
        (
            "bundle_endpoint { port = 1 acme { email = \"x\" } }",
            format!("{ENDPOINT}.acme {unsupported}"),
        ),
        (
            "federates_with \"a.org\" { bundle_endpoint_url = \"https://a\" }",
            format!("server.federation.federates_with {unsupported}"),
        ),
        (
            "bundle_endpoint { port = 1 profile {} }",
            "exactly one bundle endpoint profile is expected".to_owned(),
        ),
        ("bundle_endpoint {}", "federation.bundle_endpoint.port must be configured".to_owned()),
        (
            "bundle_endpoint { port = 0 }",
            format!("{ENDPOINT}.port must be a port from 1 to 65535, not 0"),
        ),
    ] {
        let error = load(text).unwrap_err();
        assert!(error.ends_with(&wanted) && !error.contains("problems"), "{error}");
    }
    assert_eq!(load("").unwrap().config.bundle_endpoint, None);
}
