//! The reading side of a connection: finds the header blocks in the octets that pass and has
//! [`super::hpack`] make their `:authority` acceptable to h2.
//!
//! Knows HTTP/2 framing (RFC 9113 §4.1, §6.2) and nothing more. Everything but HEADERS passes as it
//! was read, without a copy; HEADERS are edited where they were read. Only a HEADERS frame that arrives
//! in pieces is held back until it is whole. CONTINUATION frames are left alone: a field that reaches
//! over the end of a HEADERS frame is h2's to judge, and clients put `:authority` first.

use crate::transport::{hpack, patience::Progress, settings::MAX_FRAME_BYTES};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const PREFACE_BYTES: usize = 24;
const FRAME_HEADER_BYTES: usize = 9;
const HEADERS_FRAME: u8 = 0x1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// A transport that reads acceptable authorities.
#[derive(Debug)]
pub(super) struct Acceptable<T> {
    io: T,
    progress: Progress,
    next: Next,
    held: Option<Held>,
}

/// What the next octet belongs to.
#[derive(Debug)]
enum Next {
    Preface { missing: usize },
    FrameHeader { octets: [u8; FRAME_HEADER_BYTES], read: usize },
    Payload { missing: usize },
    Headers { length: usize, flags: u8 },
}

/// The payload of a HEADERS frame of which a part has been read, or that is being handed on.
#[derive(Debug)]
struct Held {
    payload: Vec<u8>,
    length: usize,
    flags: u8,
    handed_on: usize,
}

impl<T> Acceptable<T> {
    /// Wraps the transport of a new connection; tells `progress` when the preface was read.
    pub(super) const fn new(io: T, progress: Progress) -> Self {
        Self { io, progress, next: Next::Preface { missing: PREFACE_BYTES }, held: None }
    }

    /// Follows the frames through `octets`, editing header blocks on the way. How many octets may be
    /// handed on; the others are the beginning of a HEADERS payload and are now held.
    fn pass(&mut self, octets: &mut [u8]) -> usize {
        let mut at = 0;
        while let Some(rest) = octets.get_mut(at..).filter(|rest| !rest.is_empty()) {
            at += match &mut self.next {
                Next::Preface { missing } | Next::Payload { missing } => {
                    let step = rest.len().min(*missing);
                    *missing -= step;
                    step
                }
                Next::FrameHeader { octets, read } => {
                    let step = rest.len().min(FRAME_HEADER_BYTES - *read);
                    octets[*read..*read + step].copy_from_slice(&rest[..step]);
                    *read += step;
                    step
                }
                Next::Headers { length, flags } if rest.len() >= *length => {
                    edit(&mut rest[..*length], *flags);
                    std::mem::take(length)
                }
                Next::Headers { length, flags } => {
                    let mut payload = Vec::with_capacity(*length);
                    payload.extend_from_slice(rest);
                    let (length, flags) = (*length, *flags);
                    self.held = Some(Held { payload, length, flags, handed_on: 0 });
                    self.next = Next::frame_header();
                    return at;
                }
            };
            self.advance();
        }
        at
    }

    /// Goes on to the next part when the current one is complete.
    fn advance(&mut self) {
        match &self.next {
            Next::Preface { missing: 0 } => {
                self.progress.saw_preface();
                self.next = Next::frame_header();
            }
            Next::Payload { missing: 0 } | Next::Headers { length: 0, .. } => {
                self.next = Next::frame_header();
            }
            Next::FrameHeader { octets, read: FRAME_HEADER_BYTES } => {
                self.next = Next::after_header(octets);
            }
            _ => {}
        }
    }
}

impl Next {
    const fn frame_header() -> Self {
        Self::FrameHeader { octets: [0; FRAME_HEADER_BYTES], read: 0 }
    }

    fn after_header(header: &[u8; FRAME_HEADER_BYTES]) -> Self {
        let [high, middle, low, kind, flags, ..] = *header;
        let length = u32::from_be_bytes([0, high, middle, low]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        match kind {
            _ if length == 0 => Self::frame_header(),
            // h2 refuses a longer frame unread, so there is nothing to make acceptable.
            HEADERS_FRAME if length <= MAX_FRAME_BYTES => Self::Headers { length, flags },
            _ => Self::Payload { missing: length },
        }
    }
}

/// Makes the authorities in the payload of a HEADERS frame acceptable.
fn edit(payload: &mut [u8], flags: u8) {
    let (mut start, mut end) = (0, payload.len());
    if flags & PADDED != 0 {
        let Some(padding) = payload.first() else { return };
        start += 1;
        end = end.saturating_sub(usize::from(*padding));
    }
    if flags & PRIORITY != 0 {
        start += 5;
    }
    if let Some(block) = payload.get_mut(start..end) {
        hpack::neutralise_authority(block);
    }
}

impl<T: AsyncRead + Unpin> Acceptable<T> {
    /// Reads on until the held payload is whole and edited; less than whole only at the end of input.
    fn poll_complete(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(held) = &mut self.held else { return Poll::Ready(Ok(())) };
        while held.payload.len() < held.length && held.handed_on == 0 {
            let read = held.payload.len();
            held.payload.resize(held.length, 0);
            let mut buffer = ReadBuf::new(&mut held.payload[read..]);
            let result = Pin::new(&mut self.io).poll_read(context, &mut buffer);
            let more = buffer.filled().len();
            held.payload.truncate(read + more);
            ready!(result)?;
            if more == 0 {
                return Poll::Ready(Ok(()));
            }
            if held.payload.len() == held.length {
                edit(&mut held.payload, held.flags);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Hands on as much of the held payload as `buffer` takes.
    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let Some(held) = &mut self.held else { return };
        let rest = &held.payload[held.handed_on..];
        let step = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..step]);
        held.handed_on += step;
        if held.handed_on == held.payload.len() {
            self.held = None;
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Acceptable<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.held.is_some() {
                ready!(self.poll_complete(context))?;
                self.hand_on(buffer);
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
            let octets = &mut buffer.filled_mut()[before..];
            if octets.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let passed = self.pass(octets);
            buffer.set_filled(before + passed);
            // With nothing to hand on, returning would mean the end of input.
            if passed > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Acceptable<T> {
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
