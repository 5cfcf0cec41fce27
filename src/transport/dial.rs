//! TCP to one of a server's addresses, past whatever swallows connections.
//!
//! A packet filter or a virtual address whose server has just gone (a Kubernetes Service whose pod is
//! replaced) answers nothing, and the kernel sends the first packet of a connection again only after
//! a second, on the same way. So each [`BESIDE`] another attempt begins beside those that hang, at the
//! next address and from a port of its own, for which the way is chosen anew (RFC 8305 §5 does this
//! with different addresses).

use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{collections::VecDeque, io, net::SocketAddr, time::Duration};
use tokio::{
    net::TcpStream,
    time::{MissedTickBehavior, interval, timeout},
};

/// Between two attempts; what RFC 8305 §8 recommends.
const BESIDE: Duration = Duration::from_millis(250);
/// All attempts together: the kernel's second packet, and one more address's.
const WITHIN: Duration = Duration::from_secs(3);

/// The first connection that any of the addresses takes. One that refuses is not tried again.
///
/// # Errors
/// The last refusal when every address refuses; [`io::ErrorKind::TimedOut`] when some answer nothing. Dropping
/// the future ends all attempts.
pub(super) async fn dial(addresses: impl IntoIterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let addresses = addresses.into_iter().collect();
    let dialed = timeout(WITHIN, first(addresses, TcpStream::connect)).await;
    dialed.unwrap_or_else(|_| Err(silence()))
}

/// The first success of `attempt` at any of the addresses.
#[expect(clippy::future_not_send, reason = "it is as soon as its attempts are")]
async fn first<T, F: Future<Output = io::Result<T>>>(
    mut addresses: VecDeque<SocketAddr>,
    attempt: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let attempt = |address| {
        let made = attempt(address);
        async move { (address, made.await) }
    };
    let mut attempts = FuturesUnordered::new();
    let mut beat = interval(BESIDE);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut refusal = io::ErrorKind::NotFound.into();
    while let Some(&next) = addresses.front() {
        tokio::select! {
            Some((address, made)) = attempts.next() => match made {
                Ok(made) => return Ok(made),
                Err(error) => {
                    refusal = error;
                    addresses.retain(|other| *other != address);
                    beat.reset_immediately();
                }
            },
            _ = beat.tick() => {
                addresses.rotate_left(1);
                attempts.push(attempt(next));
            }
        }
    }
    Err(refusal)
}

fn silence() -> io::Error {
    let what = format!(
        "no answer within {} s: a firewall or NetworkPolicy drops it, or nothing has this address",
        WITHIN.as_secs()
    );
    io::Error::new(io::ErrorKind::TimedOut, what)
}

#[cfg(test)]
mod tests;
