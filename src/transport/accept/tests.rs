use super::*;
use crate::transport::uds::{self, Takeover};
use std::{io::Read as _, path::PathBuf};

/// An acceptor at a path of its own whose connections nobody serves.
fn acceptor(limits: Limits) -> (Acceptor, PathBuf, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let (listener, publication) = uds::bind(&path, 0o777, Takeover::Refuse).unwrap();
    let acceptor = Acceptor::start(listener, Greeting::record().unwrap(), limits).unwrap();
    publication.publish().unwrap();
    (acceptor, path, directory)
}

fn read_greeting(stream: &mut UnixStream) -> Vec<u8> {
    let mut octets = vec![0; Greeting::record().unwrap().sent().len()];
    stream.read_exact(&mut octets).unwrap();
    octets
}

#[test]
fn beyond_its_limit_a_process_is_greeted_and_told_to_go_away() {
    let (_acceptor, path, _directory) = acceptor(Limits { connections: 100, per_process: 2 });
    let mut held: Vec<_> = (0..2).map(|_| UnixStream::connect(&path).unwrap()).collect();
    held.iter_mut().for_each(|stream| drop(read_greeting(stream)));
    let mut third = UnixStream::connect(&path).unwrap();
    let mut octets = Vec::new();
    third.read_to_end(&mut octets).unwrap();
    assert_eq!(octets, Greeting::record().unwrap().refusal()[..]);
}

#[tokio::test]
async fn connections_are_handed_over_in_order_and_a_dropped_one_frees_its_seat() {
    let (mut acceptor, path, _directory) = acceptor(Limits { connections: 1, per_process: 1 });
    for _ in 0..3 {
        let mut stream = UnixStream::connect(&path).unwrap();
        assert_eq!(read_greeting(&mut stream), Greeting::record().unwrap().sent()[..]);
        let accepted = acceptor.next().await.unwrap();
        assert_eq!(accepted.peer().pid.unsigned_abs(), std::process::id());
        drop(accepted);
    }
}

#[test]
fn dropping_the_acceptor_ends_the_thread_and_the_listening_but_keeps_the_name() {
    let (acceptor, path, _directory) = acceptor(Limits::default());
    drop(acceptor);
    let error = UnixStream::connect(&path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_complaint_is_made_once_a_second_and_says_how_often_it_happened() {
    let mut complaint = Complaint::default();
    let mut told = Vec::new();
    complaint.say(|times| told.push(times));
    complaint.say(|times| told.push(times));
    complaint.last = complaint.last.map(|last| last - COMPLAIN_EVERY);
    complaint.say(|times| told.push(times));
    assert_eq!(told, [1, 2]);
}
