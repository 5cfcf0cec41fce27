//! For tests of the reading side: octets that arrive in pieces.

use futures_util::FutureExt as _;
use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

/// A transport that yields these pieces, one a read, as far as the reader has room.
pub(super) struct Pieces(VecDeque<Vec<u8>>);

impl Pieces {
    /// `octets` in pieces of these lengths, over and over.
    pub(super) fn of(octets: &[u8], lengths: &[usize]) -> Self {
        let mut pieces = VecDeque::new();
        let (mut rest, mut lengths) = (octets, lengths.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((*lengths.next().unwrap()).clamp(1, rest.len()));
            pieces.push_back(piece.to_vec());
            rest = after;
        }
        Self(pieces)
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(mut piece) = self.0.pop_front() else { return Poll::Ready(Ok(())) };
        let rest = piece.split_off(piece.len().min(buffer.remaining()));
        buffer.put_slice(&piece);
        if !rest.is_empty() {
            self.0.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

/// Everything that `reader` gives, read into a buffer that has room for `room` octets a read. A reader
/// that pauses is asked again.
pub(super) fn read_all(mut reader: impl AsyncRead + Unpin, room: usize) -> Vec<u8> {
    let (mut read, mut buffer) = (Vec::new(), vec![0; room]);
    loop {
        let Some(step) = reader.read(&mut buffer).now_or_never() else { continue };
        let step = step.unwrap();
        if step == 0 {
            return read;
        }
        read.extend_from_slice(&buffer[..step]);
    }
}
