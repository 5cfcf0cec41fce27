//! Names that lead to the socket, and names that are somebody else's.

use super::*;
use std::{
    os::unix::net::{UnixListener, UnixStream},
    sync::mpsc,
    thread,
};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn all() -> Vec<String> {
    names(&["socket", "spire-agent.sock", "api.sock"])
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn the_socket_is_found_under_every_name_and_again_after_a_restart() {
    let directory = directory();
    let path = directory.path().join("socket");
    for _restart in 0..2 {
        // Bound and published by rename, as an agent does.
        let fresh = directory.path().join("fresh");
        let agent = UnixListener::bind(&fresh).unwrap();
        fs::rename(&fresh, &path).unwrap();
        assert!(offer(&path, &all()).is_empty());
        for name in all() {
            UnixStream::connect(directory.path().join(&name)).unwrap();
            agent.accept().unwrap();
        }
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3, "and nothing else is there");
    assert_eq!(fs::read_link(directory.path().join("api.sock")).unwrap(), Path::new("socket"));
}

#[test]
fn the_names_lead_to_the_socket_wherever_the_directory_is_moved() {
    let parent = directory();
    let (here, there) = (parent.path().join("here"), parent.path().join("there"));
    fs::create_dir(&here).unwrap();
    let _agent = UnixListener::bind(here.join("spire-agent.sock")).unwrap();
    assert!(offer(&here.join("spire-agent.sock"), &all()).is_empty());
    fs::rename(&here, &there).unwrap();
    for name in all() {
        UnixStream::connect(there.join(name)).unwrap();
    }
}

#[test]
fn who_listens_under_such_a_name_keeps_it_directly_or_by_a_link() {
    let (directory, elsewhere) = (directory(), directory());
    let path = directory.path().join("socket");
    let _agent = UnixListener::bind(&path).unwrap();
    let other = elsewhere.path().join("other");
    let (strangers, direct) = (
        UnixListener::bind(&other).unwrap(),
        UnixListener::bind(directory.path().join("api.sock")),
    );
    symlink(&other, directory.path().join("spire-agent.sock")).unwrap();
    // Whoever connects is hung up on at once, so that nobody waits for a greeting.
    let (told, done) = mpsc::channel();
    let accepting = thread::spawn(move || {
        drop(strangers.accept());
        drop(direct.unwrap().accept());
        told.send(()).unwrap();
    });
    let errors = offer(&path, &all());
    done.recv().unwrap();
    accepting.join().unwrap();
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].contains("spire-agent.sock is a symbolic link"), "{texts:?}");
    assert!(texts[1].contains("listens on"), "{texts:?}");
    assert_eq!(fs::read_link(directory.path().join("spire-agent.sock")).unwrap(), other);
}

#[test]
fn dead_sockets_and_links_to_nobody_make_way_and_files_do_not() {
    let directory = directory();
    let at = |name: &str| directory.path().join(name);
    let _agent = UnixListener::bind(at("socket")).unwrap();
    drop(UnixListener::bind(at("dead")).unwrap());
    symlink("gone", at("dangling")).unwrap();
    fs::write(at("file"), "kept").unwrap();
    fs::create_dir(at("folder")).unwrap();
    let errors = offer(&at("socket"), &names(&["dead", "dangling", "file", "folder"]));
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert!(texts.len() == 2 && texts[0].contains("is a file"), "{texts:?}");
    assert!(texts[1].contains("is a directory"), "{texts:?}");
    for name in ["dead", "dangling"] {
        assert_eq!(fs::read_link(at(name)).unwrap(), Path::new("socket"));
    }
    assert_eq!(fs::read_to_string(at("file")).unwrap(), "kept");
}

#[test]
fn no_name_is_given_where_everybody_keeps_things() {
    let directory = directory();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let path = directory.path().join("api.sock");
    fs::write(directory.path().join("anybodys"), "").unwrap();
    assert!(matches!(offer(&path, &all())[..], [AliasError::SharedDirectory(_)]));
    assert!(offer(&path, &names(&["api.sock"])).is_empty(), "its own name is no other");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    fs::remove_file(directory.path().join("anybodys")).unwrap();
    assert!(offer(&path, &all()).is_empty(), "a pod's volume for sockets");
}

#[test]
fn a_link_of_an_earlier_agent_makes_room_for_the_socket_and_no_other_link_does() {
    let directory = directory();
    let at = |name: &str| directory.path().join(name);
    drop(UnixListener::bind(at("spire-agent.sock")).unwrap());
    symlink("spire-agent.sock", at("socket")).unwrap();
    symlink("/etc/hostname", at("api.sock")).unwrap();
    for name in ["socket", "api.sock", "spire-agent.sock", "nothing"] {
        make_room(&at(name));
    }
    assert!(fs::symlink_metadata(at("socket")).is_err());
    assert!(fs::symlink_metadata(at("api.sock")).is_ok());
    assert!(fs::symlink_metadata(at("spire-agent.sock")).is_ok());
}
