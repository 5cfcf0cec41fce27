//! What one agent process hands over to the next: entries, bundles and the workloads' SVIDs with their
//! keys, in one private file in memory.
//!
//! The file is believed only if it is complete (a digest covers it), ours, and of this boot and this
//! agent; each SVID only for the revision of the entry it was signed for. Blocks; called on the
//! blocking pool or before the agent serves.

use super::file::{self, FileError};
use crate::{
    agent::{cache::CacheSnapshot, digest},
    runtime::clock::{from_unix_secs, unix_secs},
    spiffe::{Bundle, Entry, EntryId, SpiffeId, X509Svid, svid::SvidError},
    wire::record::{self, RecordError},
    x509::{Certificate, SecretKey, cert::CertificateError},
};
use base64::{DecodeError, Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, path::PathBuf, time::SystemTime};
use zeroize::Zeroizing;

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
    Form(#[from] serde_json::Error),
    /// Written before a reboot or by another agent.
    #[error("the file is of another boot or another agent")]
    Foreign,
    /// A field is not base64.
    #[error("a field is not base64")]
    Base64(#[from] DecodeError),
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
const VERSION: u32 = 1;
/// The hexadecimal SHA-256 and the line end before the content.
const DIGEST_BYTES: usize = 65;

#[derive(Serialize, Deserialize)]
struct Content<'a> {
    version: u32,
    #[serde(borrow)]
    boot_id: &'a str,
    agent_id: &'a str,
    entries: Vec<&'a str>,
    bundles: Vec<&'a str>,
    svids: Vec<StoredSvid<'a>>,
}

#[derive(Serialize, Deserialize)]
struct StoredSvid<'a> {
    entry_id: &'a str,
    revision: i64,
    due_unix_secs: i64,
    #[serde(borrow)]
    chain: Vec<&'a str>,
    key: &'a str,
}

/// The base64 of one SVID's parts; the key's is wiped.
struct EncodedSvid {
    chain: Vec<String>,
    key: Zeroizing<String>,
}

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
        let encode = |bytes: &[u8]| STANDARD.encode(bytes);
        let entries: Vec<_> =
            snapshot.entries.iter().map(|entry| encode(&record::of_entry(entry))).collect();
        let bundles: Vec<_> =
            snapshot.bundles.iter().map(|bundle| encode(&record::of_bundle(bundle))).collect();
        let svids: Vec<_> = snapshot
            .svids
            .iter()
            .map(|stored| EncodedSvid {
                chain: stored.svid.chain().iter().map(|c| encode(c.der())).collect(),
                key: Zeroizing::new(encode(stored.svid.key().pkcs8_der())),
            })
            .collect();
        let content = Content {
            version: VERSION,
            boot_id: &self.boot_id,
            agent_id: agent.as_str(),
            entries: entries.iter().map(String::as_str).collect(),
            bundles: bundles.iter().map(String::as_str).collect(),
            svids: snapshot
                .svids
                .iter()
                .zip(&svids)
                .map(|(stored, encoded)| StoredSvid {
                    entry_id: stored.entry.id.as_str(),
                    revision: stored.entry.revision,
                    due_unix_secs: unix_secs(stored.due),
                    chain: encoded.chain.iter().map(String::as_str).collect(),
                    key: &encoded.key,
                })
                .collect(),
        };
        self.write(&content)
    }

    /// What the last process of `agent` left, if it left anything.
    ///
    /// # Errors
    /// When there is something that must not be used.
    pub fn load(&self, agent: &SpiffeId) -> Result<Option<Inheritance>, HandoverError> {
        let Some(bytes) = file::read(&self.path, MAX_BYTES)? else { return Ok(None) };
        let (digest, json) = bytes.split_at_checked(DIGEST_BYTES).ok_or(HandoverError::Digest)?;
        if digest.strip_suffix(b"\n") != Some(digest::sha256_hex(json).as_bytes()) {
            return Err(HandoverError::Digest);
        }
        let content: Content<'_> = serde_json::from_slice(json)?;
        let is_ours = content.version == VERSION
            && content.boot_id == self.boot_id
            && content.agent_id == agent.as_str();
        if is_ours { inheritance(&content).map(Some) } else { Err(HandoverError::Foreign) }
    }

    /// Removes the file: this agent is no longer trusted with its content.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn wipe(&self) -> Result<(), HandoverError> {
        Ok(file::remove(&self.path)?)
    }

    fn write(&self, content: &Content<'_>) -> Result<(), HandoverError> {
        // Room for everything at once, so that growing leaves no unwiped copy of a key behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(encoded_bytes(content)));
        bytes.resize(DIGEST_BYTES, b'\n');
        serde_json::to_writer(&mut *bytes, content)?;
        let (head, json) = bytes.split_at_mut(DIGEST_BYTES);
        let digest = digest::sha256_hex(json);
        head.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
        Ok(file::write(&self.path, &bytes)?)
    }
}

/// An upper bound of the encoded size.
fn encoded_bytes(content: &Content<'_>) -> usize {
    /// Names, punctuation and numbers of one record.
    const OVERHEAD: usize = 160;
    let texts = |texts: &[&str]| texts.iter().map(|text| text.len() + 4).sum::<usize>();
    let svid = |svid: &StoredSvid<'_>| {
        svid.entry_id.len() + texts(&svid.chain) + svid.key.len() + OVERHEAD
    };
    DIGEST_BYTES
        + OVERHEAD
        + content.boot_id.len()
        + content.agent_id.len()
        + texts(&content.entries)
        + texts(&content.bundles)
        + content.svids.iter().map(svid).sum::<usize>()
}

fn inheritance(content: &Content<'_>) -> Result<Inheritance, HandoverError> {
    let decode = |text: &&str| STANDARD.decode(text);
    let mut entries = Vec::with_capacity(content.entries.len());
    for text in &content.entries {
        entries.push(record::entry(&decode(text)?)?);
    }
    let mut bundles = Vec::with_capacity(content.bundles.len());
    for text in &content.bundles {
        bundles.push(record::bundle(&decode(text)?)?);
    }
    let by_id: HashMap<&EntryId, &Entry> = entries.iter().map(|entry| (&entry.id, entry)).collect();
    let mut svids = Vec::with_capacity(content.svids.len());
    for stored in &content.svids {
        let entry = EntryId::parse(stored.entry_id).ok().and_then(|id| by_id.get(&id).copied());
        let Some(entry) = entry.filter(|entry| entry.revision == stored.revision) else { continue };
        let mut chain = Vec::with_capacity(stored.chain.len());
        for text in &stored.chain {
            chain.push(Certificate::parse(decode(text)?.into())?);
        }
        let key = SecretKey::from_pkcs8(decode(&stored.key)?);
        let svid = X509Svid::new(&entry.spec.spiffe_id, chain, key)?;
        svids.push((entry.clone(), svid, from_unix_secs(stored.due_unix_secs)));
    }
    Ok(Inheritance { entries, bundles, svids })
}

#[cfg(test)]
mod tests;
