//! The server's first octets on a connection, known before the connection exists.
//!
//! A sidecar's start-up probe waits for our SETTINGS and gives up after a second (istio pilot-agent,
//! `socketHealthCheck`), so they must not wait for the runtime's turn. They are recorded once from what
//! h2 itself would write, sent by the accept thread, and swallowed when h2 writes them later.
//! Sending them twice is no way: h2 takes the second ACK for a protocol error.

use crate::transport::settings;
use bytes::{BufMut as _, Bytes, BytesMut};
use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};
use tokio::io::{AsyncRead, ReadBuf};

const FRAME_HEADER_BYTES: usize = 9;
const SETTINGS_FRAME: u8 = 0x4;
const GOAWAY_FRAME: u8 = 0x7;
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// Our own entry in the SETTINGS, by which an agent recognises another finial agent on a socket. Peers
/// ignore unknown settings (RFC 9113 §6.5.2); 0xf000–0xffff is for such use (RFC 7540 §11.3).
const MARK: u16 = 0xf1a1;
/// Generation of what the mark stands for.
const MARK_VALUE: u32 = 1;
const SETTING_BYTES: usize = 6;

/// The greeting, recorded. Clones share it.
#[derive(Clone, Debug)]
pub struct Greeting {
    recorded: Bytes,
    sent: Bytes,
    refusal: Bytes,
}

/// h2 did not greet as expected.
#[derive(Debug, thiserror::Error)]
pub enum GreetingError {
    /// The connection ended before it had greeted.
    #[error("the http/2 server ended before it had sent its settings")]
    Ended,
    /// Reading what it sent was not possible.
    #[error("the http/2 server's settings could not be read")]
    Unreadable(#[source] io::Error),
    /// It sent something else than one SETTINGS frame.
    #[error("the http/2 server greets with {octets:02x?}, expected one SETTINGS frame")]
    Unexpected {
        /// What it sent.
        octets: Bytes,
    },
}

impl Greeting {
    /// Records the greeting of a server with the settings of the Unix socket.
    ///
    /// # Errors
    /// When the greeting is not exactly one SETTINGS frame, which a new version of h2 might change.
    pub fn record() -> Result<Self, GreetingError> {
        let recorded = record()?;
        let payload = recorded.len().checked_sub(FRAME_HEADER_BYTES);
        let header = payload.map(|length| frame_header(length, SETTINGS_FRAME));
        if header.is_none_or(|header| !recorded.starts_with(&header)) {
            return Err(GreetingError::Unexpected { octets: recorded });
        }
        let sent = marked(&recorded);
        let refusal = refusal(&sent);
        Ok(Self { recorded, sent, refusal })
    }

    /// What to send on a connection as soon as it is accepted.
    pub(super) const fn sent(&self) -> &Bytes {
        &self.sent
    }

    /// What to send on a connection that is closed because there are too many: the greeting, so that
    /// the peer knows whom it met, and a GOAWAY that says why.
    pub(super) const fn refusal(&self) -> &Bytes {
        &self.refusal
    }

    /// What h2 will write on a connection that was greeted already, and must not be sent.
    pub(super) fn already_sent(&self) -> Bytes {
        self.recorded.clone()
    }
}

/// Whether `octets` begin with a greeting of ours, of whatever version.
pub(super) fn is_ours(octets: &[u8]) -> bool {
    let Some((header, rest)) = octets.split_first_chunk::<FRAME_HEADER_BYTES>() else {
        return false;
    };
    let length = usize::from(header[1]) << 8 | usize::from(header[2]);
    let settings = rest.get(..length).filter(|_| *header == frame_header(length, SETTINGS_FRAME));
    settings.is_some_and(|settings| {
        settings.chunks_exact(SETTING_BYTES).any(|setting| setting.starts_with(&MARK.to_be_bytes()))
    })
}

/// Lets h2 open a connection in memory until it waits for the client, and keeps what it wrote.
fn record() -> Result<Bytes, GreetingError> {
    const ENOUGH: usize = 1_024;
    let (server, mut client) = tokio::io::duplex(ENOUGH);
    let mut handshake = pin!(settings::builder().handshake::<_, Bytes>(server));
    let mut context = Context::from_waker(Waker::noop());
    if handshake.as_mut().poll(&mut context).is_ready() {
        return Err(GreetingError::Ended);
    }
    let mut octets = [0; ENOUGH];
    let mut buffer = ReadBuf::new(&mut octets);
    match Pin::new(&mut client).poll_read(&mut context, &mut buffer) {
        Poll::Ready(Ok(())) => Ok(Bytes::copy_from_slice(buffer.filled())),
        Poll::Ready(Err(error)) => Err(GreetingError::Unreadable(error)),
        Poll::Pending => Err(GreetingError::Unexpected { octets: Bytes::new() }),
    }
}

/// The recorded SETTINGS frame with our mark as one more setting.
fn marked(recorded: &Bytes) -> Bytes {
    let mut settings = recorded.slice(FRAME_HEADER_BYTES..);
    let mut frame = BytesMut::with_capacity(recorded.len() + SETTING_BYTES);
    frame.put_slice(&frame_header(settings.len() + SETTING_BYTES, SETTINGS_FRAME));
    frame.put(&mut settings);
    frame.put_u16(MARK);
    frame.put_u32(MARK_VALUE);
    frame.freeze()
}

/// A greeting and at once the end (RFC 9113 §6.8): last stream 0, so every request may be retried.
fn refusal(greeting: &Bytes) -> Bytes {
    const REASON: &[u8] = b"too many connections";
    let mut frames = BytesMut::from(&greeting[..]);
    frames.put_slice(&frame_header(8 + REASON.len(), GOAWAY_FRAME));
    frames.put_u32(0);
    frames.put_u32(ENHANCE_YOUR_CALM);
    frames.put_slice(REASON);
    frames.freeze()
}

/// The header of a frame on stream 0 without flags. Our frames are shorter than 64 KiB.
fn frame_header(length: usize, kind: u8) -> [u8; FRAME_HEADER_BYTES] {
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    [0, high, low, kind, 0, 0, 0, 0, 0]
}

#[cfg(test)]
mod tests;
