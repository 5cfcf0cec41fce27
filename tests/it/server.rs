//! A whole server as its agents and operators meet it: over TLS on the loopback interface and over its
//! private socket.

mod authorization;
mod fixture;
mod join;
mod life;
mod tls;
mod watch;
