//! Calls over a Unix socket, and their errors in the words of Go's gRPC library, which scripts match.
//!
//! Each command runs its calls on its own small runtime under one deadline: a server that hangs must
//! not hang the shell.

use super::{
    chain::chain,
    go::{duration::GoDuration, quote::printable},
    socket,
};
use crate::transport::channel::{self, ConnectError};
use std::{
    error::Error as _,
    fmt, io,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::timeout;
use tonic::{Code, Status, transport::Channel};

/// Where to call, and how long to wait for all answers of a command together.
#[derive(Debug)]
pub(super) struct Target {
    /// The socket.
    pub(super) path: PathBuf,
    /// How errors name it.
    pub(super) spelling: Spelling,
    /// From the start of the command.
    pub(super) deadline: Duration,
}

/// How an error message names a socket: SPIRE's programs differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// As it is.
    Plain,
    /// With two slashes in front, what is left of `unix://` in SPIRE's own dialler.
    Slashes,
}

/// A call without a good answer. Its words are complete: causes do not follow as sources.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The flags name no socket.
    #[error(transparent)]
    Socket(#[from] socket::Error),
    /// No connection.
    #[error(
        "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: \
         dial unix {}{}: connect: {}\"",
        .spelling.prefix(), .path.display(), Reason(.cause)
    )]
    Dial {
        /// Where to.
        path: PathBuf,
        /// How it is spelled.
        spelling: Spelling,
        /// Why not.
        cause: io::Error,
    },
    /// What answers is no gRPC server.
    #[error(
        "rpc error: code = Unavailable desc = connection error: desc = \"{} does not speak gRPC: {}\"",
        .path.display(), chain(.cause)
    )]
    Protocol {
        /// Where to.
        path: PathBuf,
        /// What went wrong.
        cause: ConnectError,
    },
    /// The server's answer.
    #[error("rpc error: code = {} desc = {}", code_name(.0.code().into()), description(.0))]
    Status(Box<Status>),
    /// No answer in time.
    #[error(
        "rpc error: code = DeadlineExceeded desc = no answer from {} within {}",
        .path.display(), GoDuration(*.deadline)
    )]
    Deadline {
        /// Who was asked.
        path: PathBuf,
        /// How long it had.
        deadline: Duration,
    },
    /// This process cannot wait for anything.
    #[error("cannot start the event loop: {0}")]
    Runtime(#[source] io::Error),
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl Error {
    /// What to do next, for causes whose message does not say it.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Dial { path, cause, .. } => dial_hint(path, cause),
            Self::Deadline { .. } => {
                Some("the server may be starting or overloaded: -timeout waits longer".to_owned())
            }
            Self::Status(status) if status.code() == Code::Unimplemented => Some(
                "the server does not know this call: does -socketPath name the right program's socket?"
                    .to_owned(),
            ),
            Self::Socket(_) | Self::Protocol { .. } | Self::Status(_) | Self::Runtime(_) => None,
        }
    }
}

fn dial_hint(path: &Path, cause: &io::Error) -> Option<String> {
    let shown = path.display();
    match cause.kind() {
        io::ErrorKind::PermissionDenied => {
            Some(format!("{shown} may be opened by its owner only: run this as the server's user"))
        }
        // The kernel refuses a connection to a file that is no socket in the same words as one to a
        // socket nobody listens on.
        io::ErrorKind::ConnectionRefused => match path.metadata() {
            Ok(file) if !file.file_type().is_socket() => Some(format!("{shown} is not a socket")),
            _ => Some(format!("nobody listens on {shown}: is the server running?")),
        },
        _ => None,
    }
}

impl Spelling {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Slashes => "//",
        }
    }
}

impl Target {
    /// Connects and runs `calls`, all within the deadline.
    ///
    /// # Errors
    /// When there is no connection or no answer in time, and what `calls` return.
    pub(super) fn call<T, E: From<Error>>(
        &self,
        calls: impl AsyncFnOnce(Channel) -> Result<T, E>,
    ) -> Result<T, E> {
        let runtime = runtime()?;
        let called = async { calls(self.connect().await?).await };
        let answer = runtime.block_on(async { timeout(self.deadline, called).await });
        answer.unwrap_or_else(|_| {
            Err(Error::Deadline { path: self.path.clone(), deadline: self.deadline }.into())
        })
    }

    /// A connection to the socket.
    ///
    /// # Errors
    /// When there is none, or the other side does not speak HTTP/2.
    pub(super) async fn connect(&self) -> Result<Channel, Error> {
        channel::connect_uds(&self.path).await.map_err(|error| match error {
            ConnectError::Unix(path, cause) => Error::Dial { path, spelling: self.spelling, cause },
            cause => Error::Protocol { path: self.path.clone(), cause },
        })
    }
}

/// The runtime of a command: one thread is enough to wait for one answer.
///
/// # Errors
/// When the system refuses the event loop its descriptors.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)
}

/// The name of a status code as Go writes it.
pub(super) fn code_name(code: i32) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    let name = usize::try_from(code).ok().and_then(|index| NAMES.get(index));
    name.map_or_else(|| format!("Code({code})"), |name| (*name).to_owned())
}

/// The status message; for a broken connection also what broke it, which tonic keeps as causes.
fn description(status: &Status) -> String {
    let mut text = status.message().to_owned();
    if let Some(cause) = status.source() {
        text.extend([": ", &chain(cause)]);
    }
    printable(&text).into_owned()
}

/// A system error in C's words, as Go shows it.
struct Reason<'a>(&'a io::Error);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind() {
            io::ErrorKind::NotFound => f.write_str("no such file or directory"),
            io::ErrorKind::PermissionDenied => f.write_str("permission denied"),
            io::ErrorKind::ConnectionRefused => f.write_str("connection refused"),
            // The path does not fit into the kernel's address structure.
            io::ErrorKind::InvalidInput => f.write_str("invalid argument"),
            _ => self.0.fmt(f),
        }
    }
}
