//! The key file's bytes, and how they are read and replaced. Knows no keys' meaning.

use super::error::{Damage, KeyStoreError};
use crate::x509::{KeyPair, SecretKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::geteuid,
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Private keys by name.
pub(super) type Keys = BTreeMap<String, SecretKey>;

/// 1 MiB: a hundred times the four RSA-4096 keys that a SPIRE server keeps.
const MAX_BYTES: u64 = 1024 * 1024;

const PERMISSIONS: u32 = 0o7777;
const OTHERS: u32 = 0o077;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    keys: BTreeMap<String, String>,
}

pub(super) fn read(path: &Path) -> Result<Keys, KeyStoreError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => File::from(descriptor),
        Err(Errno::NOENT) => return Ok(Keys::new()),
        Err(Errno::LOOP) => return Err(KeyStoreError::SymbolicLink(path.to_owned())),
        Err(errno) => return Err(failed("open", path)(errno.into())),
    };
    check_access(&file, path)?;
    // Room for everything at once: growing would leave unwiped copies of keys behind.
    let length = file.metadata().map_err(failed("examine", path))?.len();
    if length > MAX_BYTES {
        return Err(KeyStoreError::TooLarge { path: path.to_owned(), max: MAX_BYTES });
    }
    let capacity = usize::try_from(length).unwrap_or_default();
    let mut text = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(length).read_to_end(&mut text).map_err(failed("read", path))?;
    parse(&text).map_err(|source| KeyStoreError::Damaged { path: path.to_owned(), source })
}

/// Looks at the opened file, not at its name, which could lead elsewhere a moment later.
fn check_access(file: &File, path: &Path) -> Result<(), KeyStoreError> {
    let metadata = file.metadata().map_err(failed("examine", path))?;
    if !metadata.is_file() {
        return Err(KeyStoreError::NotAFile(path.to_owned()));
    }
    let (owner, expected) = (metadata.uid(), geteuid().as_raw());
    if owner != expected {
        return Err(KeyStoreError::Owner { path: path.to_owned(), owner, expected });
    }
    let mode = metadata.mode() & PERMISSIONS;
    if mode & OTHERS != 0 {
        return Err(KeyStoreError::Mode { path: path.to_owned(), mode });
    }
    Ok(())
}

/// The keys in the file's text.
pub(super) fn parse(text: &[u8]) -> Result<Keys, Damage> {
    let raw: Raw = serde_json::from_slice(text).map_err(Damage::Json)?;
    raw.keys
        .into_iter()
        .map(|(name, encoded)| {
            let encoded = Zeroizing::new(encoded);
            let der = match STANDARD.decode(encoded.as_bytes()) {
                Ok(der) => der,
                Err(error) => return Err(Damage::Base64(name, error)),
            };
            let secret = SecretKey::from_pkcs8(der);
            match KeyPair::load(&secret) {
                Ok(_) => Ok((name, secret)),
                Err(error) => Err(Damage::Key(name, error)),
            }
        })
        .collect()
}

/// Replaces the file so that at every instant, and after a crash at any, its name leads to the old or
/// the new bytes in full.
pub(super) fn replace(path: &Path, keys: &Keys) -> Result<(), KeyStoreError> {
    let temporary = temporary_name(path);
    match fs::remove_file(&temporary) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("remove the leftover of", &temporary)(error)),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = rustix::fs::open(&temporary, flags, Mode::RUSR | Mode::WUSR)
        .map(File::from)
        .map_err(|errno| failed("create", &temporary)(errno.into()))?;
    file.write_all(&render(keys)).map_err(failed("write", &temporary))?;
    file.sync_all().map_err(failed("sync", &temporary))?;
    fs::rename(&temporary, path).map_err(failed("replace", path))?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed("sync the directory of", path))
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// The bytes that SPIRE writes for these keys: indented by tabs, names in order.
pub(super) fn render(keys: &Keys) -> Zeroizing<Vec<u8>> {
    let room = keys.iter().map(|(name, secret)| name.len() * 6 + secret.pkcs8_der().len() * 2 + 64);
    let mut text = Zeroizing::new(Vec::with_capacity(room.sum::<usize>() + 64));
    text.extend_from_slice(b"{\n\t\"keys\": {");
    for (index, (name, secret)) in keys.iter().enumerate() {
        let encoded = Zeroizing::new(STANDARD.encode(secret.pkcs8_der()));
        text.extend_from_slice(if index == 0 { b"\n\t\t" } else { b",\n\t\t" });
        text.extend_from_slice(serde_json::Value::from(name.as_str()).to_string().as_bytes());
        text.extend_from_slice(b": \"");
        text.extend_from_slice(encoded.as_bytes());
        text.push(b'"');
    }
    text.extend_from_slice(if keys.is_empty() { b"}\n}" } else { b"\n\t}\n}" });
    text
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyStoreError {
    let path = path.to_owned();
    move |source| KeyStoreError::Io { operation, path, source }
}
