//! The other ends of raw sockets: on the load's core, asleep until something arrives, as sidecars are.
//! Waking them is part of what a write costs, and no agent can do without it.

use crate::harness::machine::{Core, bind_to};
use rustix::event::{
    Timespec,
    epoll::{self, CreateFlags, EventData, EventFlags},
};
use std::{
    io::{ErrorKind, Read, Write},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Clients that read what they are sent, on a thread of their own, and acknowledge it. Dropping it ends
/// them.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    epoll: OwnedFd,
    streams: Mutex<Vec<UnixStream>>,
    answer: &'static [u8],
    answered: AtomicUsize,
    is_over: AtomicBool,
}

/// As Envoy waits, for either direction: reading what it sent wakes it too.
const AS_ENVOY_WAITS: EventFlags = EventFlags::IN.union(EventFlags::OUT).union(EventFlags::ET);
/// How often the thread looks whether it is to end.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

impl Clients {
    /// No clients yet; each will send `answer` whenever something has arrived.
    pub(crate) fn start(answer: &'static [u8]) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            streams: Mutex::default(),
            answer,
            answered: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let on_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            bind_to(Core::Load);
            while !on_thread.is_over.load(Ordering::Relaxed) {
                // Interrupted or not: it is asked again.
                let _is_right = on_thread.serve_ready().is_ok();
            }
        });
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Adds a client.
    pub(crate) fn add(&self, stream: UnixStream) -> anyhow::Result<()> {
        stream.set_nonblocking(true)?;
        let mut streams = self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let number = EventData::new_u64(u64::try_from(streams.len())?);
        epoll::add(&self.shared.epoll, &stream, number, AS_ENVOY_WAITS)?;
        streams.push(stream);
        Ok(())
    }

    /// Waits until `count` answers were sent since the last call.
    pub(crate) fn answered(&self, count: usize) {
        while self.shared.answered.load(Ordering::Acquire) < count {
            thread::sleep(Duration::from_millis(1));
        }
        self.shared.answered.fetch_sub(count, Ordering::AcqRel);
    }
}

impl Shared {
    fn serve_ready(&self) -> anyhow::Result<()> {
        let mut room = [MaybeUninit::uninit(); 64];
        let (events, _) = epoll::wait(&self.epoll, &mut room[..], Some(&LOOK))?;
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let mut octets = [0; 8_192];
        for event in events {
            let Some(mut stream) = streams.get(usize::try_from(event.data.u64())?) else {
                continue;
            };
            let mut has_read = false;
            loop {
                match stream.read(&mut octets) {
                    Ok(0) => break,
                    Ok(_) => has_read = true,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
            if has_read {
                stream.write_all(self.answer)?;
                self.answered.fetch_add(1, Ordering::AcqRel);
            }
        }
        Ok(())
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // It panics nowhere; and if it did, the numbers were taken before.
        let _has_ended = self.thread.take().map(JoinHandle::join);
    }
}
