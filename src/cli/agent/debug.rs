//! `debug getinfo`: what the agent says of itself on its admin socket.

use super::connection::TIMEOUT;
use crate::{
    cli::{
        Failure,
        command::Command,
        flags::{Deadline, FlagSet},
        go::{duration::GoDuration, quote::printable, time},
        output::Output,
        rpc::{self, Spelling, Target},
    },
    wire::proto::spire::agent::debug::v1::{
        GetInfoRequest, GetInfoResponse, debug_client::DebugClient,
    },
};
use std::{fmt::Write as _, path::PathBuf, time::Duration};

/// Shows the agent's uptime, caches and own SVID.
#[derive(Debug)]
pub(super) struct GetInfo {
    socket_path: String,
    timeout: Deadline,
    output: Output,
}

impl Default for GetInfo {
    fn default() -> Self {
        Self {
            socket_path: "/tmp/spire-agent/private/admin.sock".to_owned(),
            timeout: TIMEOUT,
            output: Output::default(),
        }
    }
}

impl Command for GetInfo {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        flags.add("socketPath", &mut self.socket_path, "The agent's admin socket");
        flags.add("timeout", &mut self.timeout, "How long to wait for an answer");
        self.output.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let path = PathBuf::from(&self.socket_path);
        let target = Target { path, spelling: Spelling::Slashes, deadline: self.timeout.0 };
        let answer = target.call(async |channel| -> Result<_, rpc::Error> {
            Ok(DebugClient::new(channel).get_info(GetInfoRequest {}).await?.into_inner())
        })?;
        self.output.print(&answer, text)
    }
}

fn text(info: &GetInfoResponse) -> String {
    let uptime = Duration::from_secs(info.uptime.unsigned_abs().into());
    let last_sync = match info.last_sync_success {
        0 => "(never)".to_owned(),
        at => time::rfc3339(at),
    };
    let mut text = format!(
        "Agent Debug Info:\n  \
           Uptime:                          {}\n  \
           Last Sync Success:               {last_sync}\n  \
           Cached X.509 SVIDs:              {}\n  \
           Cached JWT SVIDs:                {}\n  \
           Cached SVID Store X.509 SVIDs:   {}\n",
        GoDuration(uptime),
        info.cached_x509_svids_count,
        info.cached_jwt_svids_count,
        info.cached_svidstore_x509_svids_count,
    );
    if !info.svid_chain.is_empty() {
        text.push_str("  SVID Chain:\n");
    }
    for (index, certificate) in info.svid_chain.iter().enumerate() {
        let id = certificate.id.as_ref().map_or_else(
            || "(none)".to_owned(),
            |id| format!("spiffe://{}{}", printable(&id.trust_domain), printable(&id.path)),
        );
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "    [{index}] SPIFFE ID:  {id}\n        Subject:    {}\n        Expires At: {}\n",
            printable(&certificate.subject),
            time::rfc3339(certificate.expires_at),
        );
    }
    text
}
