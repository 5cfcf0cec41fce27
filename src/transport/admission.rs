//! Which TCP connections get in: bounds on how many are open, and on how many one address may hold
//! open without having proved an identity. Owns the counts and nothing else.

use parking_lot::Mutex;
use std::{collections::HashMap, net::IpAddr, sync::Arc};

/// Upper bounds on open connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Of everybody together.
    pub connections: usize,
    /// Of one address, as long as they are within the handshake or stay without a certificate.
    pub unproven_per_ip: usize,
}

impl Default for Admission {
    /// 16,384 connections: one for each agent of a very large trust domain. 256 unproven ones per
    /// address: more than a burst of new nodes behind one NAT needs at once, as each lasts for
    /// milliseconds, and far too few to exhaust our descriptors (reliability-security.md §2.5).
    fn default() -> Self {
        Self { connections: 16_384, unproven_per_ip: 256 }
    }
}

/// Why a connection is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// All places are taken.
    #[error("{limit} connections are open, the limit of this server")]
    Connections {
        /// How many there are.
        limit: usize,
    },
    /// The places of one address are taken.
    #[error("{ip} has {limit} connections open without a client certificate, the limit")]
    Unproven {
        /// The address.
        ip: IpAddr,
        /// How many it may have.
        limit: usize,
    },
}

/// The places of one listener.
#[derive(Clone, Debug)]
pub struct Places {
    limits: Admission,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    unproven: HashMap<IpAddr, usize>,
}

/// One connection's place; dropping it gives the place back.
#[derive(Debug)]
pub struct Place {
    /// Whose count of unproven connections it is in.
    unproven: Option<IpAddr>,
    taken: Arc<Mutex<Taken>>,
}

impl Places {
    /// All of them free.
    #[must_use]
    pub fn new(limits: Admission) -> Self {
        Self { limits, taken: Arc::default() }
    }

    /// A place for a connection from `ip`.
    ///
    /// # Errors
    /// When there is none left for it.
    pub fn take(&self, ip: IpAddr) -> Result<Place, Full> {
        let mut taken = self.taken.lock();
        if taken.total >= self.limits.connections {
            return Err(Full::Connections { limit: self.limits.connections });
        }
        let limit = self.limits.unproven_per_ip;
        if taken.unproven.get(&ip).is_some_and(|count| *count >= limit) {
            return Err(Full::Unproven { ip, limit });
        }
        *taken.unproven.entry(ip).or_default() += 1;
        taken.total += 1;
        Ok(Place { unproven: Some(ip), taken: Arc::clone(&self.taken) })
    }
}

impl Place {
    /// The connection has proved an identity and no longer counts against its address.
    pub fn proven(&mut self) {
        let Some(ip) = self.unproven.take() else { return };
        self.taken.lock().forget_unproven(ip);
    }
}

impl Taken {
    fn forget_unproven(&mut self, ip: IpAddr) {
        let Some(count) = self.unproven.get_mut(&ip) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.unproven.remove(&ip);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        taken.total = taken.total.saturating_sub(1);
        if let Some(ip) = self.unproven {
            taken.forget_unproven(ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_full_of_unproven_connections_leaves_room_for_others_and_for_agents() {
        let places = Places::new(Admission { connections: 4, unproven_per_ip: 2 });
        let [flood, agent]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
        let (first, second) = (places.take(flood).unwrap(), places.take(flood).unwrap());
        assert_eq!(places.take(flood).unwrap_err(), Full::Unproven { ip: flood, limit: 2 });
        let mut agents = vec![places.take(agent).unwrap()];
        agents[0].proven();
        agents[0].proven();
        drop(first);
        agents.extend([places.take(flood).unwrap(), places.take(agent).unwrap()]);
        assert_eq!(places.take(agent).unwrap_err(), Full::Connections { limit: 4 });
        drop((second, agents));
        let left = places.taken.lock();
        assert_eq!((left.total, left.unproven.len()), (0, 0), "nothing is kept about the gone");
    }
}
