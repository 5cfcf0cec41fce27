#![allow(missing_docs)]
#[global_allocator]
static A: mimalloc::MiMalloc = mimalloc::MiMalloc;
use finial::{
    config::{Environment, Source},
    runtime::*,
};
use std::path::Path;
#[tokio::main]
async fn main() {
    let a: Vec<String> = std::env::args().collect();
    let src = Source::open(Path::new(&a[3]), Environment::Literal).unwrap();
    let clock = Clock::system();
    if a[0].ends_with("spire-server") {
        let c = finial::server::config::read(&src, &Default::default()).unwrap().config;
        let s = finial::server::start::Server::start(c, clock).await.unwrap();
        runtime_wait().await;
        s.shutdown().await;
    } else {
        let c = finial::agent::config::read(&src, &Default::default()).unwrap().config;
        let s = finial::agent::start::Agent::start(c, clock, Shutdown::new()).await.unwrap();
        runtime_wait().await;
        s.shutdown().await;
    }
}
async fn runtime_wait() {
    finial::runtime::shutdown::termination_signal().await.unwrap();
}
