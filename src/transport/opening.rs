//! A connection's bottom layer: how its first octets are read and written.
//!
//! What opens HTTP/2 and the first requests mostly arrive together, and are read in one call, though h2
//! asks for the preface alone. What was greeted is not greeted again. And what the first turn writes, the
//! acknowledgement of the client's settings and mostly the first answers, leaves in one call at its end;
//! from then on everything passes as it is.

use bytes::{Buf as _, Bytes, BytesMut};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is read ahead at most: a first request of a SPIFFE client with everything before it.
const AHEAD_BYTES: usize = 1_024;
/// What is gathered at most; more leaves at once.
const GATHERED_BYTES: usize = 16 * 1_024;

/// A transport at whose other end the greeting has arrived.
#[derive(Debug)]
pub(super) struct Opening<T> {
    io: T,
    /// What is still to be swallowed.
    greeting: Bytes,
    ahead: Ahead,
    gathered: BytesMut,
    first_turn: FirstTurn,
}

/// The first turn of a connection, shared with whoever knows when it ends.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstTurn(Arc<AtomicU8>);

const HAS_WRITTEN: u8 = 1;
const OVER: u8 = 2;

/// What was read before it was asked for.
#[derive(Debug)]
enum Ahead {
    /// Nothing was read yet.
    Unread,
    Octets(Bytes),
}

impl FirstTurn {
    /// Ends the turn if something was written in it; whether that is to be sent now.
    pub(super) fn end(&self) -> bool {
        self.0.compare_exchange(HAS_WRITTEN, OVER, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire) == OVER
    }
}

impl<T> Opening<T> {
    /// Wraps a transport on which `greeting` was sent already.
    pub(super) fn new(io: T, greeting: Bytes, first_turn: FirstTurn) -> Self {
        Self { io, greeting, ahead: Ahead::Unread, gathered: BytesMut::new(), first_turn }
    }

    /// Swallows the head of `octets`; how many.
    fn swallow(&mut self, octets: &[u8]) -> io::Result<usize> {
        let length = octets.len().min(self.greeting.len());
        if octets.get(..length) != self.greeting.get(..length) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the http/2 server writes another greeting than the one recorded from it",
            ));
        }
        self.greeting.advance(length);
        Ok(length)
    }

    /// Takes what `slices` hold to send it later, as far as there is room; how much.
    fn gather(&mut self, slices: &[IoSlice<'_>]) -> usize {
        let before = self.gathered.len();
        for slice in slices {
            let room = GATHERED_BYTES - self.gathered.len();
            self.gathered.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        self.first_turn.0.store(HAS_WRITTEN, Ordering::Release);
        self.gathered.len() - before
    }

    /// Hands on what was read ahead.
    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        match &mut self.ahead {
            Ahead::Octets(octets) if !octets.is_empty() => {
                let step = octets.len().min(buffer.remaining());
                buffer.put_slice(&octets.split_to(step));
                true
            }
            _ => false,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Opening<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if matches!(self.ahead, Ahead::Unread) {
            let mut octets = [0; AHEAD_BYTES];
            let mut read = ReadBuf::new(&mut octets);
            ready!(Pin::new(&mut self.io).poll_read(context, &mut read))?;
            self.ahead = Ahead::Octets(Bytes::copy_from_slice(read.filled()));
            // Nothing is the end of input, and stays it.
            self.hand_on(buffer);
            return Poll::Ready(Ok(()));
        }
        if self.hand_on(buffer) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> Opening<T> {
    /// Sends what was gathered.
    fn poll_gathered(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let sent = ready!(Pin::new(&mut self.io).poll_write(context, &self.gathered))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(sent);
        }
        // Gives its memory back.
        self.gathered = BytesMut::new();
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Opening<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(octets)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.greeting.is_empty()
            && let Some(octets) = slices.iter().find(|slice| !slice.is_empty())
        {
            return Poll::Ready(self.swallow(octets));
        }
        if !self.first_turn.is_over() && self.gathered.len() < GATHERED_BYTES {
            return Poll::Ready(Ok(self.gather(slices)));
        }
        ready!(self.poll_gathered(context))?;
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.first_turn.is_over() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_gathered(context))?;
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_gathered(context))?;
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
