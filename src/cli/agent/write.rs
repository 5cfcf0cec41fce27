//! The files of `api fetch -write`: per SVID its chain, its key and its bundles, as PEM.

use super::received::Received;
use crate::{
    cli::{Failure, console, go::quote::printable},
    x509::pem,
};
use std::{
    fs::{OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", .path.display())]
struct Error {
    path: PathBuf,
    source: io::Error,
}

/// What anybody may read.
const PUBLIC: u32 = 0o644;
/// What only its owner may.
const PRIVATE: u32 = 0o600;

/// Writes everything below `directory` and says so.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn write(received: &Received, directory: &Path) -> Result<(), Failure> {
    for (index, identity) in received.svids.iter().enumerate() {
        let svid = &identity.svid;
        let path = directory.join(format!("svid.{index}.pem"));
        say(&format!("SVID #{index}"), &path)?;
        put(&path, PUBLIC, &pem::certificates(svid.chain()))?;
        let path = directory.join(format!("svid.{index}.key"));
        say(&format!("key #{index}"), &path)?;
        put(&path, PRIVATE, &pem::secret_key(svid.key()))?;
        let path = directory.join(format!("bundle.{index}.pem"));
        say(&format!("bundle #{index}"), &path)?;
        put(&path, PUBLIC, &pem::certificates(&identity.bundle))?;
        for (number, (trust_domain, bundle)) in received.federated.iter().enumerate() {
            let path = directory.join(format!("federated_bundle.{index}.{number}.pem"));
            let trust_domain = printable(trust_domain);
            say(&format!("federated bundle #{number} for trust domain {trust_domain}"), &path)?;
            put(&path, PUBLIC, &pem::certificates(bundle))?;
        }
    }
    Ok(())
}

fn say(what: &str, path: &Path) -> Result<(), Failure> {
    console::print(&format!("Writing {what} to file {}.\n", path.display()))
}

fn put(path: &Path, mode: u32, text: &[u8]) -> Result<(), Error> {
    let written = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
        // A file that was there keeps its mode: a key must not end up in one that others may read.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text)
    };
    written().map_err(|source| Error { path: path.to_owned(), source })
}
