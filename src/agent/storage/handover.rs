//! What one agent process hands over to the next: entries, bundles and the workloads' SVIDs with their
//! keys, in one private file in memory.
//!
//! The file is believed only if it is complete (a digest covers it), ours, and of this boot and this
//! agent; each SVID only for the revision of the entry it was signed for. Blocks; called on the
//! blocking pool or before the agent serves.

use super::{
    file::{self, FileError},
    parcel::{self, Packer, Unexpected, Unpacker},
};
use crate::{
    agent::{
        cache::{CacheSnapshot, StoredSvid},
        digest,
    },
    runtime::clock::{from_unix_secs, unix_secs},
    spiffe::{Bundle, Entry, EntryId, SpiffeId, X509Svid, svid::SvidError},
    wire::record::{self, RecordError},
    x509::{Certificate, SecretKey, cert::CertificateError},
};
use std::{collections::HashMap, path::PathBuf, time::SystemTime};

/// The file, for one agent in one boot.
#[derive(Clone, Debug)]
pub struct Handover {
    path: PathBuf,
    boot_id: String,
}

/// What the last process knew.
#[derive(Debug)]
pub struct Inheritance {
    /// Its entries.
    pub entries: Vec<Entry>,
    /// Its bundles.
    pub bundles: Vec<Bundle>,
    /// Its SVIDs, each with its entry and the time of its renewal.
    pub svids: Vec<(Entry, X509Svid, SystemTime)>,
}

/// A file that is there and not to be used, or cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The digest does not fit: truncated or damaged.
    #[error("the file is incomplete or damaged")]
    Digest,
    /// Not what this version writes.
    #[error("the file has another form")]
    Form(#[from] Unexpected),
    /// Written before a reboot or by another agent.
    #[error("the file is of another boot or another agent")]
    Foreign,
    /// An entry or bundle in it is broken.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A certificate in it is broken.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The parts of an SVID in it do not belong together.
    #[error(transparent)]
    Svid(#[from] SvidError),
}

/// 256 MiB: a hundred times the largest node.
const MAX_BYTES: u64 = 256 * 1024 * 1024;
/// 1 was JSON, most of whose writing was escaping what needs no escape.
const VERSION: i64 = 2;
/// The hexadecimal SHA-256 and the line end before the content.
const DIGEST_BYTES: usize = 65;

impl Handover {
    /// The file at `path`, in the boot `boot_id`.
    #[must_use]
    pub const fn new(path: PathBuf, boot_id: String) -> Self {
        Self { path, boot_id }
    }

    /// Replaces the file by what `agent` knows now.
    ///
    /// # Errors
    /// When it cannot be written; then the old one stays.
    pub fn store(&self, agent: &SpiffeId, snapshot: &CacheSnapshot) -> Result<(), HandoverError> {
        let entries: Vec<_> =
            snapshot.entries.iter().map(|entry| record::of_entry(entry)).collect();
        let bundles: Vec<_> =
            snapshot.bundles.iter().map(|bundle| record::of_bundle(bundle)).collect();
        let mut bytes = parcel::pack(DIGEST_BYTES, |packer| {
            packer.number(VERSION);
            packer.field(self.boot_id.as_bytes());
            packer.field(agent.as_str().as_bytes());
            for records in [&entries, &bundles] {
                packer.count(records.len());
                records.iter().for_each(|record| packer.field(record));
            }
            packer.count(snapshot.svids.len());
            snapshot.svids.iter().for_each(|stored| pack_svid(packer, stored));
        });
        let (head, content) = bytes.split_at_mut(DIGEST_BYTES);
        let digest = digest::sha256_hex(content) + "\n";
        head.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
        Ok(file::write(&self.path, &bytes)?)
    }

    /// What the last process of `agent` left, if it left anything.
    ///
    /// # Errors
    /// When there is something that must not be used.
    pub fn load(&self, agent: &SpiffeId) -> Result<Option<Inheritance>, HandoverError> {
        let Some(bytes) = file::read(&self.path, MAX_BYTES)? else { return Ok(None) };
        let (digest, content) =
            bytes.split_at_checked(DIGEST_BYTES).ok_or(HandoverError::Digest)?;
        if digest.strip_suffix(b"\n") != Some(digest::sha256_hex(content).as_bytes()) {
            return Err(HandoverError::Digest);
        }
        let mut unpacker = Unpacker::new(content);
        if unpacker.number()? != VERSION {
            return Err(Unexpected.into());
        }
        if unpacker.text()? != self.boot_id || unpacker.text()? != agent.as_str() {
            return Err(HandoverError::Foreign);
        }
        let inheritance = inheritance(&mut unpacker)?;
        unpacker.finish()?;
        Ok(Some(inheritance))
    }

    /// Removes the file: this agent is no longer trusted with its content.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn wipe(&self) -> Result<(), HandoverError> {
        Ok(file::remove(&self.path)?)
    }
}

fn pack_svid(packer: &mut Packer<'_>, stored: &StoredSvid) {
    packer.field(stored.entry.id.as_str().as_bytes());
    packer.number(stored.entry.revision);
    packer.number(unix_secs(stored.due));
    packer.count(stored.svid.chain().len());
    stored.svid.chain().iter().for_each(|certificate| packer.field(certificate.der()));
    packer.field(stored.svid.key().pkcs8_der());
}

fn inheritance(unpacker: &mut Unpacker<'_>) -> Result<Inheritance, HandoverError> {
    let entries = unpack_all(unpacker, |unpacker| Ok(record::entry(unpacker.field()?)?))?;
    let bundles = unpack_all(unpacker, |unpacker| Ok(record::bundle(unpacker.field()?)?))?;
    let by_id: HashMap<&EntryId, &Entry> = entries.iter().map(|entry| (&entry.id, entry)).collect();
    let svids = unpack_all(unpacker, |unpacker| unpack_svid(unpacker, &by_id))?;
    let svids = svids.into_iter().flatten().collect();
    Ok(Inheritance { entries, bundles, svids })
}

fn unpack_all<'a, T>(
    unpacker: &mut Unpacker<'a>,
    unpack: impl Fn(&mut Unpacker<'a>) -> Result<T, HandoverError>,
) -> Result<Vec<T>, HandoverError> {
    let count = unpacker.count()?;
    (0..count).map(|_| unpack(unpacker)).collect()
}

/// Nothing when the entry is not there any more in the revision that the SVID was signed for.
fn unpack_svid(
    unpacker: &mut Unpacker<'_>,
    by_id: &HashMap<&EntryId, &Entry>,
) -> Result<Option<(Entry, X509Svid, SystemTime)>, HandoverError> {
    let entry = EntryId::parse(unpacker.text()?).ok().and_then(|id| by_id.get(&id).copied());
    let (revision, due) = (unpacker.number()?, from_unix_secs(unpacker.number()?));
    let chain = unpack_all(unpacker, |unpacker| {
        Ok(Certificate::parse(unpacker.field()?.to_vec().into())?)
    })?;
    let key = SecretKey::from_pkcs8(unpacker.field()?.to_vec());
    let Some(entry) = entry.filter(|entry| entry.revision == revision) else { return Ok(None) };
    Ok(Some((entry.clone(), X509Svid::new(&entry.spec.spiffe_id, chain, key)?, due)))
}

#[cfg(test)]
mod tests;
