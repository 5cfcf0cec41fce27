//! What no renewal of a certificate can do without: a key made, its CSR signed, that checked, the
//! certificate signed, and the secret written to the sockets on which it is awaited.

use super::{
    crypto::P256,
    socket::{self, Pairs},
};
use crate::harness::machine::thread_cpu;
use std::time::Duration;

/// Renewals with nothing around them, whose clients stay connected.
pub(crate) struct Renewals {
    p256: P256,
    sockets: Pairs,
    streams: usize,
}

/// CPU time of one of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw {
    /// The four operations on P-256 that give a certificate, and the writes.
    pub(crate) issue: Duration,
    /// A fifth, by which an agent knows that peers will accept it.
    pub(crate) check: Duration,
}

/// How many are measured at a time: about as many as a server signs in a row.
const ROUNDS: usize = 64;

impl Renewals {
    /// Each of them written to so many `streams`.
    pub(crate) fn new(streams: usize) -> anyhow::Result<Self> {
        Ok(Self { p256: P256::new()?, sockets: Pairs::new(ROUNDS * streams)?, streams })
    }

    /// Measures, the steps in the order in which a renewal has them: a client has gone back to sleep when
    /// the next secret arrives.
    pub(crate) fn measure(&mut self) -> anyhow::Result<Raw> {
        let started = thread_cpu();
        for sockets in self.sockets.servers.chunks_mut(self.streams) {
            self.p256.issue()?;
            sockets.iter_mut().try_for_each(socket::send)?;
        }
        let issued = thread_cpu();
        for _ in 0..ROUNDS {
            self.p256.check()?;
        }
        let checked = thread_cpu();
        self.sockets.acknowledged()?;
        let each = |took: Duration| took / u32::try_from(ROUNDS).unwrap_or(u32::MAX);
        Ok(Raw { issue: each(issued - started), check: each(checked - issued) })
    }
}
