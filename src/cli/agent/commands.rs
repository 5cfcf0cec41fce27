//! What the agent's command line can do, in the order it is listed.

use super::{debug, fetch, health, run, sds, validate, watch};
use crate::cli::command::{Command, Listed, made};

/// Every command, sorted by its words.
pub(in crate::cli) const COMMANDS: &[Listed] = &[
    command("api fetch", "Fetches the caller's X.509-SVIDs", "", made::<fetch::Fetch>),
    command(
        "api fetch sds",
        "Fetches the caller's secrets as an Envoy would",
        "",
        made::<sds::FetchSds>,
    ),
    command("api fetch x509", "Fetches the caller's X.509-SVIDs", "", made::<fetch::Fetch>),
    command(
        "api watch",
        "Prints the caller's X.509-SVIDs as they change",
        "",
        made::<watch::Watch>,
    ),
    command("debug getinfo", "Shows the agent's state", "Error: ", made::<debug::GetInfo>),
    command(
        "healthcheck",
        "Tells whether the agent is healthy",
        "Agent is unhealthy: ",
        made::<health::HealthCheck>,
    ),
    command("run", "Runs the agent", "", made::<run::Run>),
    command(
        "validate",
        "Checks a configuration file of the agent",
        "SPIRE agent configuration file is invalid: ",
        made::<validate::Validate>,
    ),
];

const fn command(
    path: &'static str,
    synopsis: &'static str,
    error_prefix: &'static str,
    make: fn() -> Box<dyn Command>,
) -> Listed {
    Listed { path, synopsis, error_prefix, make }
}
