//! Takes connections from the listening socket on a thread of its own.
//!
//! Accept, name the peer, greet, hand over: a few system calls, no attestation, no waiting for the
//! runtime. So a sidecar has our SETTINGS within milliseconds of its connect, whatever the rest of the
//! agent does (a probe that waits a second deletes the socket, istio-envoy.md §1). The loop never spins
//! and never ends but at [`Acceptor`]'s drop. Runs on the thread "accept"; the runtime takes the
//! connections from a queue, which needs no more room than there are seats.

use crate::transport::{
    greeting::Greeting,
    limits::{Limits, Seat, Seats},
    peer::{PeerCred, PeerError},
};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd},
    io::{Errno, fcntl_dupfd_cloexec},
    net::{SendFlags, SocketFlags},
};
use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::Instant,
};

/// Connections taken between two looks at the stop signal.
const BATCH: usize = 64;
/// After running out of descriptors: long enough not to spin, short enough to recover unnoticed.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// At most one line per kind of trouble in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);

/// A connection that was accepted and greeted, on the runtime.
#[derive(Debug)]
pub struct Accepted {
    pub(super) stream: tokio::net::UnixStream,
    pub(super) peer: Arc<PeerCred>,
    pub(super) greeting: Greeting,
    pub(super) seat: Seat,
}

/// The same, on its way from the thread to the runtime.
struct Arrival {
    stream: UnixStream,
    peer: PeerCred,
    greeting: Greeting,
    seat: Seat,
}

impl Accepted {
    /// Who opened it.
    #[must_use]
    pub const fn peer(&self) -> &Arc<PeerCred> {
        &self.peer
    }
}

impl Arrival {
    /// Hands the descriptors to the current runtime.
    fn register(self) -> io::Result<Accepted> {
        let Self { stream, peer, greeting, seat } = self;
        let stream = tokio::net::UnixStream::from_std(stream)?;
        Ok(Accepted { stream, peer: Arc::new(peer.watched()?), greeting, seat })
    }
}

/// The accept loop could not be started.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// A descriptor that the loop needs was refused.
    #[error("a descriptor for the accept loop")]
    Descriptor(#[source] Errno),
    /// The thread was refused.
    #[error("a thread for the accept loop")]
    Thread(#[source] io::Error),
}

/// The receiving end of the accept loop. Dropping it stops the loop and closes the listening socket.
pub struct Acceptor {
    arrivals: mpsc::Receiver<Arrival>,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Acceptor {
    /// Starts to accept from `listener`, which must be non-blocking, those whom the kernel can name.
    ///
    /// # Errors
    /// When the process has no descriptor or thread to spare.
    pub fn start(
        listener: UnixListener,
        greeting: Greeting,
        limits: Limits,
    ) -> Result<Self, AcceptError> {
        Self::start_with(listener, greeting, limits, PeerCred::of_connection)
    }

    /// Likewise, with those whose process cannot be seen from this container: nothing is given to them that
    /// depends on who they are.
    ///
    /// # Errors
    /// When the process has no descriptor or thread to spare.
    pub fn start_for_anybody(
        listener: UnixListener,
        greeting: Greeting,
        limits: Limits,
    ) -> Result<Self, AcceptError> {
        Self::start_with(listener, greeting, limits, PeerCred::seen_or_not)
    }

    fn start_with(
        listener: UnixListener,
        greeting: Greeting,
        limits: Limits,
        name: fn(&UnixStream) -> Result<PeerCred, PeerError>,
    ) -> Result<Self, AcceptError> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let stop = Arc::new(eventfd(0, flags).map_err(AcceptError::Descriptor)?);
        let spare = spare(stop.as_fd()).map_err(AcceptError::Descriptor)?;
        // A queued connection has a seat, so the queue is never full; tokio takes memory as it fills.
        let (queue, arrivals) = mpsc::channel(limits.connections.max(1));
        let accept_loop = AcceptLoop {
            listener,
            stop: Arc::clone(&stop),
            spare: Some(spare),
            greeting,
            name,
            seats: Seats::new(limits),
            queue,
            refusals: Complaint::default(),
            exhaustion: Complaint::default(),
        };
        let thread = std::thread::Builder::new()
            .name("accept".to_owned())
            .spawn(move || accept_loop.run())
            .map_err(AcceptError::Thread)?;
        Ok(Self { arrivals, stop, thread: Some(thread) })
    }

    /// The next connection; `None` when the loop has ended. Dropping the future loses no connection.
    pub async fn next(&mut self) -> Option<Accepted> {
        loop {
            match self.arrivals.recv().await?.register() {
                Ok(accepted) => return Some(accepted),
                Err(error) => tracing::error!(%error, "the runtime took no connection"),
            }
        }
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        // Fails only when the counter is full, and then the thread is being told already.
        let told = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        tracing::trace!(ok = told.is_ok(), "stopping the accept loop");
        // The thread waits for nothing but the signal it was just given.
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the accept loop had panicked");
        }
    }
}

struct AcceptLoop {
    listener: UnixListener,
    stop: Arc<OwnedFd>,
    /// Given up to be able to accept, and so refuse, a connection when there is no other left.
    spare: Option<OwnedFd>,
    greeting: Greeting,
    /// Who opened a connection.
    name: fn(&UnixStream) -> Result<PeerCred, PeerError>,
    seats: Seats,
    queue: mpsc::Sender<Arrival>,
    refusals: Complaint,
    exhaustion: Complaint,
}

enum Wake {
    Connection,
    Stop,
}

/// What came of one accept.
enum Outcome {
    /// A connection was taken or refused; there may be more.
    Taken,
    /// None is waiting.
    Empty,
    /// Nobody takes connections any more.
    Closed,
    /// The system refused; waiting is all that helps.
    Exhausted(io::Error),
}

impl AcceptLoop {
    fn run(mut self) {
        while let Wake::Connection = self.wait(Some(&self.listener), None) {
            for _ in 0..BATCH {
                match self.accept_one() {
                    Outcome::Taken => {}
                    Outcome::Empty => break,
                    Outcome::Closed => return,
                    Outcome::Exhausted(error) => {
                        self.shed(&error);
                        if let Wake::Stop = self.wait(None, Some(&PAUSE)) {
                            return;
                        }
                        break;
                    }
                }
            }
        }
    }

    /// Waits for the stop signal, for a connection if `listener` is given, and no longer than `limit`.
    fn wait(&self, listener: Option<&UnixListener>, limit: Option<&Timespec>) -> Wake {
        let mut watched = vec![PollFd::new(&self.stop, PollFlags::IN)];
        watched.extend(listener.map(|listener| PollFd::new(listener, PollFlags::IN)));
        match rustix::event::poll(&mut watched, limit) {
            Ok(_) if watched.first().is_some_and(|stop| !stop.revents().is_empty()) => Wake::Stop,
            // An error (a signal, no memory) is as good as a wake-up: accept then says what is wrong.
            Ok(_) | Err(_) => Wake::Connection,
        }
    }

    fn accept_one(&mut self) -> Outcome {
        match self.accept() {
            Ok(stream) => self.admit(stream),
            Err(Errno::AGAIN) => Outcome::Empty,
            // The peer has given up already, or a signal came.
            Err(Errno::CONNABORTED | Errno::INTR) => Outcome::Taken,
            Err(errno) => Outcome::Exhausted(errno.into()),
        }
    }

    fn accept(&self) -> Result<UnixStream, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        rustix::net::accept_with(&self.listener, flags).map(UnixStream::from)
    }

    /// Names the peer, greets it and hands the connection over; or refuses it.
    fn admit(&mut self, stream: UnixStream) -> Outcome {
        let peer = match (self.name)(&stream) {
            Ok(peer) => peer,
            Err(error) => return self.refuse_nameless(&stream, error),
        };
        let seat = match self.seats.take(peer.pid) {
            Ok(seat) => seat,
            Err(full) => {
                self.refusals.say(|times| {
                    tracing::warn!(pid = peer.pid, reason = %full, times, "connection refused");
                });
                send(stream.as_fd(), self.greeting.refusal());
                return Outcome::Taken;
            }
        };
        if send(stream.as_fd(), self.greeting.sent()) == Sent::Not {
            return Outcome::Taken;
        }
        let greeting = self.greeting.clone();
        match self.queue.try_send(Arrival { stream, peer, greeting, seat }) {
            // Full cannot be, as there are no more seats than places.
            Ok(()) | Err(TrySendError::Full(_)) => Outcome::Taken,
            Err(TrySendError::Closed(_)) => Outcome::Closed,
        }
    }

    fn refuse_nameless(&mut self, stream: &UnixStream, error: PeerError) -> Outcome {
        if error.is_out_of_descriptors() {
            send(stream.as_fd(), self.greeting.refusal());
            return Outcome::Exhausted(io::Error::other(error));
        }
        match error {
            PeerError::Gone { pid } => tracing::debug!(pid, "the peer ended before its accept"),
            error => self.refusals.say(|times| {
                tracing::warn!(reason = %error, times, "connection refused");
            }),
        }
        Outcome::Taken
    }

    /// Refuses one waiting connection with the spare descriptor, so that its peer need not wait for a
    /// timeout, and says so.
    fn shed(&mut self, error: &io::Error) {
        self.exhaustion.say(|times| {
            tracing::error!(%error, times, "cannot accept connections; raise the limit on open files");
        });
        drop(self.spare.take());
        if let Ok(stream) = self.accept() {
            send(stream.as_fd(), self.greeting.refusal());
        }
        // Another thread may have been faster; then the next call tries again.
        self.spare = spare(self.stop.as_fd()).ok();
    }
}

/// Whether octets went out.
#[derive(PartialEq)]
enum Sent {
    All,
    Not,
}

/// Sends a few octets on a connection that has sent nothing yet: its buffer has room, or it is broken.
fn send(stream: BorrowedFd<'_>, octets: &[u8]) -> Sent {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match rustix::net::send(stream, octets, flags) {
        Ok(sent) if sent == octets.len() => Sent::All,
        _ => Sent::Not,
    }
}

/// A descriptor to give up later. Costs no kernel object: it is one more name for `of`.
fn spare(of: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    fcntl_dupfd_cloexec(of, 0)
}

/// One kind of trouble, told at most once per [`COMPLAIN_EVERY`].
#[derive(Default)]
struct Complaint {
    last: Option<Instant>,
    untold: u64,
}

impl Complaint {
    /// Counts one occurrence; calls `tell` with how many there were since it was last called.
    fn say(&mut self, tell: impl FnOnce(u64)) {
        self.untold += 1;
        if self.last.is_some_and(|last| last.elapsed() < COMPLAIN_EVERY) {
            return;
        }
        self.last = Some(Instant::now());
        tell(std::mem::take(&mut self.untold));
    }
}

#[cfg(test)]
mod tests;
