//! `api fetch` and `api fetch x509`.

use super::{
    connection::{PublicSocket, WORKLOAD_TIMEOUT},
    received::Received,
    workload, write,
};
use crate::{
    cli::{
        Failure,
        command::Command,
        console,
        flags::{Deadline, FlagSet},
        json,
        output::Output,
        rpc,
    },
    runtime::Clock,
};
use std::path::Path;
use tokio::time::Instant;

/// Fetches the X.509-SVIDs of the calling process.
#[derive(Debug)]
pub(super) struct Fetch {
    socket: PublicSocket,
    timeout: Deadline,
    silent: bool,
    write: String,
    output: Output,
}

impl Default for Fetch {
    fn default() -> Self {
        Self {
            socket: PublicSocket::default(),
            timeout: WORKLOAD_TIMEOUT,
            silent: false,
            write: String::new(),
            output: Output::default(),
        }
    }
}

impl Command for Fetch {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        self.socket.flags(flags);
        flags.add("timeout", &mut self.timeout, "How long to wait for an answer");
        flags.add("silent", &mut self.silent, "Do not print the SVIDs as text");
        flags.add(
            "write",
            &mut self.write,
            "A directory to write the SVIDs, keys and bundles to; not with -output json",
        );
        self.output.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let start = Instant::now();
        let target = self.socket.target(self.timeout.0)?;
        let answer = target.call(async |channel| -> Result<_, rpc::Error> {
            let mut updates = workload::updates(channel).await?;
            Ok(workload::next(&mut updates).await?)
        })?;
        let waited = start.elapsed();
        if self.output.is_json() {
            return console::print(&json::line(&answer)?);
        }
        let received = Received::read(&answer, Clock::system().now())?;
        if !self.silent {
            console::print(&received.text(waited))?;
        }
        if self.write.is_empty() {
            return Ok(());
        }
        write::write(&received, Path::new(&self.write))
    }
}
