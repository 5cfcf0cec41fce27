use super::*;
use std::{cell::Cell, future::pending, net::TcpListener};
use tokio::time::Instant;

const ONE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
const TWO: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 2);

fn refusal() -> io::Error {
    io::ErrorKind::ConnectionRefused.into()
}

/// The kernel takes one connection for a listener that accepts none and whose queue has no room, and
/// answers nothing to those after it.
fn swallowing() -> (TcpListener, Vec<std::net::TcpStream>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let held = std::net::TcpStream::connect(address).unwrap();
    (listener, vec![held], address)
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_has_another_beside_it_after_a_quarter_of_a_second() {
    let began = Instant::now();
    let made = Cell::new(0);
    let attempt = |_| {
        made.set(made.get() + 1);
        let number = made.get();
        async move { if number < 3 { pending().await } else { Ok(number) } }
    };
    assert_eq!(first([ONE].into(), attempt).await.unwrap(), 3);
    assert_eq!(began.elapsed(), 2 * BESIDE);
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_and_then_refuses_ends_the_wait_at_once() {
    let began = Instant::now();
    let made = Cell::new(0);
    let attempt = |_| {
        made.set(made.get() + 1);
        let hangs = made.get() == 1;
        async move { if hangs { pending().await } else { Err::<(), _>(refusal()) } }
    };
    let error = first([ONE].into(), attempt).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(began.elapsed(), BESIDE);
}

#[tokio::test(start_paused = true)]
async fn after_an_address_that_refuses_the_next_is_tried_without_waiting() {
    let began = Instant::now();
    let attempt = async |address| if address == ONE { Err(refusal()) } else { Ok(address) };
    assert_eq!(first([ONE, TWO].into(), attempt).await.unwrap(), TWO);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn addresses_take_turns() {
    let attempt = async |address| if address == ONE { pending().await } else { Ok(address) };
    assert_eq!(first([ONE, TWO].into(), attempt).await.unwrap(), TWO);
}

#[tokio::test]
async fn a_host_without_addresses_is_told_from_one_that_is_silent() {
    assert_eq!(dial([]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_swallows_connections_is_given_up_and_named_silent() {
    let (_listener, _held, address) = swallowing();
    let error = dial([address]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(error.to_string().starts_with("no answer within 3 s"), "{error}");
}

#[tokio::test]
async fn a_server_beside_one_that_swallows_connections_is_reached() {
    let (_listener, _held, silent) = swallowing();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let reached = dial([silent, server.local_addr().unwrap()]).await.unwrap();
    assert_eq!(reached.peer_addr().unwrap(), server.local_addr().unwrap());
}
