//! What the server's command line can do, in the order it is listed.

use super::{agent, bundle, entry, health, run, token, validate};
use crate::cli::command::{Command, Listed, made};

/// Every command, sorted by its words.
pub(in crate::cli) const COMMANDS: &[Listed] = &[
    command("agent ban", "Bans an attested agent", made::<agent::one::Ban>),
    command("agent count", "Counts attested agents", made::<agent::list::Count>),
    command(
        "agent evict",
        "Removes an attested agent, which may attest again",
        made::<agent::one::Evict>,
    ),
    command("agent list", "Lists attested agents", made::<agent::list::List>),
    command("agent show", "Shows an attested agent", made::<agent::one::Show>),
    command("bundle count", "Counts bundles", made::<bundle::Count>),
    command("bundle show", "Prints the server's CA bundle", made::<bundle::Show>),
    command("entry count", "Counts registration entries", made::<entry::count::Count>),
    command("entry create", "Creates registration entries", made::<entry::create::Create>),
    command("entry delete", "Deletes registration entries", made::<entry::delete::Delete>),
    command("entry show", "Shows registration entries", made::<entry::show::Show>),
    command("entry update", "Replaces registration entries", made::<entry::update::Update>),
    Listed {
        path: "healthcheck",
        synopsis: "Tells whether the server is healthy",
        error_prefix: "Error: server is unhealthy: ",
        make: made::<health::HealthCheck>,
    },
    Listed { path: "run", synopsis: "Runs the server", error_prefix: "", make: made::<run::Run> },
    command("token generate", "Makes a join token", made::<token::Generate>),
    Listed {
        path: "validate",
        synopsis: "Checks a configuration file of the server",
        error_prefix: "SPIRE server configuration file is invalid: ",
        make: made::<validate::Validate>,
    },
];

const fn command(
    path: &'static str,
    synopsis: &'static str,
    make: fn() -> Box<dyn Command>,
) -> Listed {
    Listed { path, synopsis, error_prefix: "Error: ", make }
}
