//! The `federation` block: the endpoint that serves this trust domain's bundle. Its keys in the file, and
//! what the server runs with.

use std::time::Duration;

use crate::config::listen::Endpoint;
use crate::config::{Cause, Idle, Problems, Section, Setting, Warning, value};

use super::default;
use super::model::BundleEndpoint;

/// The block, as the file has it.
#[derive(Debug)]
pub(super) struct RawFederation {
    endpoint: Option<RawEndpoint>,
}

#[derive(Debug)]
struct RawEndpoint {
    address: Option<Setting<String>>,
    port: Option<Setting<i64>>,
    refresh_hint: Option<Setting<Duration>>,
    profile: Option<Profile>,
}

/// How the endpoint proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    /// By the server's SVID.
    HttpsSpiffe,
    /// By nothing that is named.
    Empty,
    /// By a way that is refused as a problem of its own.
    Refused,
}

const ENDPOINT: &str = "server.federation.bundle_endpoint";
const PROFILE: &str = "server.federation.bundle_endpoint.profile";
/// SPIRE's numbers: a reader looks no more often, and a bundle may change more often.
const SHORTEST_HINT: Duration = Duration::from_secs(60);
const LONG_HINT: Duration = Duration::from_secs(24 * 60 * 60);

impl RawFederation {
    pub(super) fn read(federation: &mut Section<'_, '_>) -> Self {
        federation.unsupported(&[("federates_with", Idle::EmptyBlock)]);
        Self { endpoint: federation.section("bundle_endpoint", RawEndpoint::read) }
    }

    /// The endpoint, if one is configured and nothing is wrong with it.
    pub(super) fn validate(
        self,
        problems: &mut Problems,
        warnings: &mut Vec<Warning>,
    ) -> Option<BundleEndpoint> {
        self.endpoint?.validate(problems, warnings)
    }
}

impl RawEndpoint {
    fn read(endpoint: &mut Section<'_, '_>) -> Self {
        endpoint.unsupported(&[("acme", Idle::Unset)]);
        Self {
            address: endpoint.text("address", value::string),
            port: endpoint.integer("port"),
            refresh_hint: endpoint.text("refresh_hint", value::lifetime),
            profile: endpoint.section("profile", |profile| {
                let is_web = profile.has("https_web");
                profile.unsupported(&[("https_web", Idle::Unset)]);
                match profile.section("https_spiffe", |_| ()) {
                    Some(()) => Profile::HttpsSpiffe,
                    None if is_web => Profile::Refused,
                    None => Profile::Empty,
                }
            }),
        }
    }

    fn validate(
        self,
        problems: &mut Problems,
        warnings: &mut Vec<Warning>,
    ) -> Option<BundleEndpoint> {
        match self.profile {
            Some(Profile::HttpsSpiffe | Profile::Refused) => {}
            Some(Profile::Empty) => problems.push(PROFILE, None, Cause::NoEndpointProfile),
            None => warnings.push(Warning::NoEndpointProfile),
        }
        let refresh_hint = self.refresh_hint.map_or(default::REFRESH_HINT, |hint| hint.value);
        if refresh_hint >= LONG_HINT {
            warnings.push(Warning::LongRefreshHint);
        }
        if refresh_hint < SHORTEST_HINT {
            warnings.push(Warning::ShortRefreshHint);
        }
        let port_path = format!("{ENDPOINT}.port");
        if self.port.is_none() && !problems.concern(&port_path) {
            let what = "federation.bundle_endpoint.port";
            problems.push(port_path, None, Cause::Missing { what });
        }
        let bind = Endpoint {
            host: self.address,
            default_host: default::BIND_ADDRESS,
            port: self.port,
            default_port: default::BUNDLE_ENDPOINT_PORT,
            path: ENDPOINT,
            keys: ("address", "port"),
        }
        .validate(problems)?;
        Some(BundleEndpoint { bind, refresh_hint })
    }
}

#[cfg(test)]
mod tests;
