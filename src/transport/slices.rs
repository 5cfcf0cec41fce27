//! The reading side of a connection, after [`super::authority`]: cuts long DATA frames into short ones.
//!
//! h2 reads into a buffer of 8 KiB, which grows for good when a frame is longer; Envoy's first request
//! on each stream comes in frames of 16 KiB, so that every sidecar would cost those for its life. Cut,
//! the same octets pass through the buffer as it is, with a pause after each piece in which its stream
//! takes it: h2's list of pieces that wait never shrinks either. The peer's flow control sees no
//! difference: it counts payload (RFC 9113 §6.9.1), of which not an octet changes. Padded frames, which
//! count more than that, pass as they are, as does a frame whose header arrives in two reads.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const PREFACE_BYTES: usize = 24;
const HEADER_BYTES: usize = 9;
const DATA_FRAME: u8 = 0x0;
const END_STREAM: u8 = 0x1;
const PADDED: u8 = 0x8;
/// With its header half of h2's buffer.
const PIECE_BYTES: usize = 4_096 - HEADER_BYTES;

/// A transport that reads no long DATA frames.
#[derive(Debug)]
pub(super) struct Sliced<T> {
    io: T,
    next: Next,
    pause: Pause,
}

/// Whether the streams have had their turn since the last piece.
#[derive(Debug, PartialEq, Eq)]
enum Pause {
    Due,
    Over,
}

/// What the next octet that is handed on belongs to.
#[derive(Debug)]
enum Next {
    /// The preface or a payload that passes as it comes.
    Octets { missing: usize },
    /// A frame's header, of which so much has passed.
    Header { octets: [u8; HEADER_BYTES], read: usize },
    /// A piece of a cut frame; then comes `cut`.
    Piece { missing: usize, cut: Cut },
    /// The header that we made for the next piece.
    Made { header: [u8; HEADER_BYTES], given: usize, piece: usize, cut: Cut },
}

/// What is left of a frame that was cut.
#[derive(Clone, Copy, Debug)]
struct Cut {
    missing: usize,
    flags: u8,
    stream: [u8; 4],
}

impl<T> Sliced<T> {
    /// Wraps the transport of a new connection.
    pub(super) const fn new(io: T) -> Self {
        let next = Next::Octets { missing: PREFACE_BYTES };
        Self { io, next, pause: Pause::Over }
    }

    /// Follows the frames through `octets`, cutting the one that goes on beyond them. How many octets
    /// may be handed on; a header behind them is replaced by one of ours.
    fn pass(&mut self, octets: &mut [u8]) -> usize {
        let mut at = 0;
        while at < octets.len() {
            let rest = octets.len() - at;
            match &mut self.next {
                Next::Octets { missing } | Next::Piece { missing, .. } => {
                    let step = rest.min(*missing);
                    *missing -= step;
                    at += step;
                }
                Next::Header { octets: header, read } => {
                    let step = rest.min(HEADER_BYTES - *read);
                    header[*read..*read + step].copy_from_slice(&octets[at..at + step]);
                    *read += step;
                    at += step;
                    if *read == HEADER_BYTES {
                        let frame = Frame::of(*header);
                        let is_whole = step == HEADER_BYTES;
                        if is_whole && frame.is_to_be_cut(octets.len() - at) {
                            return self.cut(&frame, octets, at);
                        }
                        self.next = Next::Octets { missing: frame.length };
                    }
                }
                // Nothing is read before it was handed on.
                Next::Made { .. } => return at,
            }
            self.advance();
        }
        at
    }

    /// Ends `frame`, whose payload starts at `at`, with `octets`.
    fn cut(&mut self, frame: &Frame, octets: &mut [u8], at: usize) -> usize {
        let here = octets.len() - at;
        let cut = Cut { missing: frame.length, flags: frame.flags, stream: frame.stream };
        let Some(header) = octets[..at].last_chunk_mut().filter(|_| here > 0) else {
            self.next = cut.next();
            return at - HEADER_BYTES;
        };
        let (made, rest) = cut.split(here);
        *header = made;
        self.next = rest.next();
        self.pause = Pause::Due;
        octets.len()
    }

    /// Goes on to the next part when the current one is complete.
    fn advance(&mut self) {
        match self.next {
            Next::Octets { missing: 0 } => {
                self.next = Next::Header { octets: [0; HEADER_BYTES], read: 0 };
            }
            Next::Piece { missing: 0, cut } => {
                self.next = cut.next();
                self.pause = Pause::Due;
            }
            _ => {}
        }
    }

    /// How many octets may be read at once: none of what follows a piece.
    const fn limit(&self) -> Option<usize> {
        match self.next {
            Next::Piece { missing, .. } => Some(missing),
            _ => None,
        }
    }

    /// Hands on as much of a header of ours as `buffer` takes.
    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let Next::Made { header, given, piece, cut } = &mut self.next else { return };
        let step = buffer.remaining().min(HEADER_BYTES - *given);
        buffer.put_slice(&header[*given..*given + step]);
        *given += step;
        if *given == HEADER_BYTES {
            self.next = Next::Piece { missing: *piece, cut: *cut };
        }
    }
}

/// A frame's header.
struct Frame {
    length: usize,
    kind: u8,
    flags: u8,
    stream: [u8; 4],
}

impl Frame {
    fn of(header: [u8; HEADER_BYTES]) -> Self {
        let [high, middle, low, kind, flags, stream @ ..] = header;
        let length = u32::from_be_bytes([0, high, middle, low]);
        Self { length: usize::try_from(length).unwrap_or(usize::MAX), kind, flags, stream }
    }

    /// Whether it is a long DATA frame of which only `here` octets are there.
    const fn is_to_be_cut(&self, here: usize) -> bool {
        let is_plain_data = self.kind == DATA_FRAME && self.flags & PADDED == 0;
        is_plain_data && self.length > here && self.length > PIECE_BYTES
    }
}

impl Cut {
    /// The header of a piece of `length`, and what is left then.
    fn split(self, length: usize) -> ([u8; HEADER_BYTES], Self) {
        let rest = Self { missing: self.missing - length, ..self };
        // A frame's length has 24 bits.
        let [_, high, middle, low] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        let flags = if rest.missing == 0 { self.flags } else { self.flags & !END_STREAM };
        let [a, b, c, d] = self.stream;
        ([high, middle, low, DATA_FRAME, flags, a, b, c, d], rest)
    }

    /// The next piece, or the next frame when nothing is left.
    fn next(self) -> Next {
        if self.missing == 0 {
            return Next::Header { octets: [0; HEADER_BYTES], read: 0 };
        }
        let piece = self.missing.min(PIECE_BYTES);
        let (header, cut) = self.split(piece);
        Next::Made { header, given: 0, piece, cut }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Sliced<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::replace(&mut self.pause, Pause::Over) == Pause::Due {
            // The streams are polled first, and then the connection again.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let start = buffer.filled().len();
        loop {
            self.hand_on(buffer);
            if buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            let polled = match self.limit() {
                None => Pin::new(&mut self.io).poll_read(context, buffer),
                Some(limit) => {
                    let room = limit.min(buffer.remaining());
                    let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
                    let polled = Pin::new(&mut self.io).poll_read(context, &mut part);
                    let read = part.filled().len();
                    buffer.advance(read);
                    polled
                }
            };
            match polled {
                // A header of ours is worth a return.
                Poll::Pending if before > start => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
            let octets = &mut buffer.filled_mut()[before..];
            if octets.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let passed = self.pass(octets);
            buffer.set_filled(before + passed);
            // With nothing to hand on, returning would mean the end of input.
            if before + passed > start {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Sliced<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
