//! How many connections may be open, in total and by one process. Owns the count and nothing else.

use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};

/// Upper bounds on open connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of all peers together. Each connection takes two file descriptors.
    pub connections: usize,
    /// Of one process, so that a leaking or hostile one cannot take the places of the others.
    pub per_process: usize,
}

impl Default for Limits {
    /// 4,096 and 64: ten times the sidecars of a full node, and far more than any client library opens
    /// (spire#4665, spire#5348: connections that clients never closed exhausted the agent).
    fn default() -> Self {
        Self { connections: 4_096, per_process: 64 }
    }
}

/// Why a connection gets no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("{limit} connections are open, the limit of this agent")]
    Connections { limit: usize },
    #[error("process {pid} has {limit} connections open, the limit of one process")]
    Process { pid: i32, limit: usize },
}

/// The seats of one socket. Clones share the count.
#[derive(Clone, Debug)]
pub(super) struct Seats {
    limits: Limits,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_process: HashMap<i32, usize>,
}

/// One open connection's place; dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Seat {
    pid: i32,
    taken: Arc<Mutex<Taken>>,
}

impl Seats {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, taken: Arc::default() }
    }

    /// Takes a seat for a connection of process `pid`.
    pub(super) fn take(&self, pid: i32) -> Result<Seat, Full> {
        let mut taken = self.taken.lock();
        if taken.total >= self.limits.connections {
            return Err(Full::Connections { limit: self.limits.connections });
        }
        let of_process = taken.by_process.entry(pid).or_default();
        if *of_process >= self.limits.per_process {
            return Err(Full::Process { pid, limit: self.limits.per_process });
        }
        *of_process += 1;
        taken.total += 1;
        Ok(Seat { pid, taken: Arc::clone(&self.taken) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        taken.total = taken.total.saturating_sub(1);
        let Some(of_process) = taken.by_process.get_mut(&self.pid) else { return };
        *of_process = of_process.saturating_sub(1);
        if *of_process == 0 {
            taken.by_process.remove(&self.pid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_cannot_take_the_seats_of_another() {
        let seats = Seats::new(Limits { connections: 3, per_process: 2 });
        let held = [seats.take(7).unwrap(), seats.take(7).unwrap()];
        assert_eq!(seats.take(7).unwrap_err(), Full::Process { pid: 7, limit: 2 });
        let other = seats.take(8).unwrap();
        assert_eq!(seats.take(9).unwrap_err(), Full::Connections { limit: 3 });
        drop((held, other));
        assert!(seats.taken.lock().by_process.is_empty(), "nothing is kept about a gone process");
        assert!(seats.take(7).is_ok());
    }
}
