//! `api watch`: prints every update until it is interrupted.

use super::{
    connection::{PublicSocket, WORKLOAD_TIMEOUT},
    received::Received,
    workload,
};
use crate::{
    cli::{
        Failure,
        command::Command,
        console,
        flags::FlagSet,
        rpc::{self, Target},
    },
    runtime::{Backoff, Clock},
};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tonic::Code;

/// Watches the X.509-SVIDs of the calling process.
#[derive(Debug, Default)]
pub(super) struct Watch {
    socket: PublicSocket,
}

impl Command for Watch {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        self.socket.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let target = self.socket.target(WORKLOAD_TIMEOUT.0)?;
        rpc::runtime()?.block_on(watch(&target))
    }
}

/// Follows one stream after the other. A stream has no deadline: it may be silent for hours.
async fn watch(target: &Target) -> Result<(), Failure> {
    // 1 s to 30 s, as SPIFFE's own clients wait.
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    let mut last_update = Instant::now();
    loop {
        let Err(failure) = follow(target, &mut backoff, &mut last_update).await;
        match failure {
            Failure::Error(error) if !is_final(error.as_ref()) => {
                console::tell(&format!("{error}\n"));
            }
            end => return Err(end),
        }
        sleep(backoff.next_delay()).await;
    }
}

async fn follow(
    target: &Target,
    backoff: &mut Backoff,
    last_update: &mut Instant,
) -> Result<std::convert::Infallible, Failure> {
    let channel = target.connect().await?;
    let mut updates = workload::updates(channel).await.map_err(rpc::Error::from)?;
    loop {
        let answer = workload::next(&mut updates).await.map_err(rpc::Error::from)?;
        backoff.reset();
        let received = Received::read(&answer, Clock::system().now())?;
        console::print(&received.text(last_update.elapsed()))?;
        *last_update = Instant::now();
    }
}

/// An agent that says the request itself is wrong will say so again.
fn is_final(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(
        error.downcast_ref(),
        Some(rpc::Error::Status(status)) if status.code() == Code::InvalidArgument
    )
}
