//! `healthcheck` of either program: one gRPC health check over the program's socket.

use super::{Failure, console, flags::FlagSet, go::quote::quoted, rpc};
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// `-shallow` and `-verbose`.
#[derive(Debug, Default)]
pub(super) struct HealthFlags {
    shallow: bool,
    verbose: bool,
}

/// Not healthy. The texts are SPIRE's.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// Nobody to ask, or no answer: `-verbose` says why.
    #[error("unable to determine health")]
    Unknown,
    /// It says so itself.
    #[error("{program} returned status {}", quoted(.status.as_str_name()))]
    NotServing {
        /// `server` or `agent`.
        program: &'static str,
        /// What it says.
        status: ServingStatus,
    },
}

impl HealthFlags {
    /// Adds both.
    pub(super) fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        flags.add("shallow", &mut self.shallow, "Accepted for compatibility, without effect");
        flags.add("verbose", &mut self.verbose, "Say what is done and why it failed");
    }

    /// Asks `program` for its health and says what it answers; `call` runs [`ask`] on its socket.
    ///
    /// # Errors
    /// When it is not healthy.
    pub(super) fn check(
        &self,
        program: &'static str,
        call: impl FnOnce() -> Result<ServingStatus, rpc::Error>,
    ) -> Result<(), Failure> {
        if self.verbose {
            console::print(&format!("Checking {program} health...\n"))?;
        }
        match call() {
            Ok(ServingStatus::Serving) => {
                let (first, rest) = program.split_at(1);
                console::print(&format!("{}{rest} is healthy.\n", first.to_ascii_uppercase()))
            }
            Ok(status) => Err(Error::NotServing { program, status }.into()),
            Err(error) => {
                if self.verbose {
                    console::tell(&format!("Failed to check health: {error}\n"));
                }
                Err(Error::Unknown.into())
            }
        }
    }
}

/// The health of everything behind `channel`.
///
/// # Errors
/// When there is no answer.
pub(super) async fn ask(channel: Channel) -> Result<ServingStatus, rpc::Error> {
    let request = HealthCheckRequest { service: String::new() };
    Ok(HealthClient::new(channel).check(request).await?.into_inner().status())
}
