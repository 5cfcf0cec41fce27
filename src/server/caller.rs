//! Who makes a request, as far as the connection has proved it. `authorize` decides what that allows
//! and leaves the caller in the request's extensions, where every service finds it.

use crate::{spiffe::SpiffeId, transport::status::Kind, x509::cert::Serial};
use std::{net::IpAddr, time::SystemTime};
use tonic::Status;

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A process that may open the server's private socket: an administrator.
    Local(LocalPeer),
    /// A TLS client without a certificate.
    Anonymous {
        /// Where it connects from.
        ip: IpAddr,
    },
    /// A TLS client whose certificate one of our bundles verified.
    Member(Member),
}

/// A process on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalPeer {
    /// Its process id.
    pub pid: i32,
    /// The user it runs as.
    pub uid: u32,
    /// The group it runs as.
    pub gid: u32,
}

/// What a verified client certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Whose certificate.
    pub id: SpiffeId,
    /// Its serial number.
    pub serial: Serial,
    /// Its last valid moment.
    pub not_after: SystemTime,
    /// Where it connects from.
    pub ip: IpAddr,
}

impl Caller {
    /// The certificate's identity, if there is one.
    #[must_use]
    pub const fn id(&self) -> Option<&SpiffeId> {
        match self {
            Self::Member(member) => Some(&member.id),
            Self::Local(_) | Self::Anonymous { .. } => None,
        }
    }

    /// The caller of a request that has passed authorisation.
    ///
    /// # Errors
    /// INTERNAL when the request came in by another way, which would be a fault of ours.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<&Self, Status> {
        request
            .extensions()
            .get()
            .ok_or_else(|| Kind::Internal.status("the request has no caller, expected one"))
    }

    /// The agent that makes a request. Only methods that the table gives to agents may ask: for them
    /// authorisation has checked that the caller is an attested agent.
    ///
    /// # Errors
    /// INTERNAL when the caller is none, which would be a fault of ours.
    pub fn agent_of<T>(request: &tonic::Request<T>) -> Result<&SpiffeId, Status> {
        let caller = Self::of(request)?;
        caller.id().ok_or_else(|| Kind::Internal.status("the caller is no agent, expected one"))
    }
}
