//! One batch of SVIDs: keys and CSRs, the call, and the check of each answer. Cryptography runs on the
//! blocking pool, and one bad answer spoils no other.

use super::schedule::Rhythm;
use crate::{
    agent::cache::{Cache, Signed},
    runtime::{Clock, TaskSet, backoff, tasks::BlockingError},
    spiffe::{Bundle, Entry, EntryId, X509Svid, svid::SvidError, svid::leaf_subject},
    transport::{channel::MAX_MESSAGE_BYTES, status::Reason},
    wire::{
        proto::spire::api::{
            server::svid::v1::{
                BatchNewX509svidRequest, NewX509svidParams,
                batch_new_x509svid_response::Result as Answer, svid_client::SvidClient,
            },
            types::Status as ItemStatus,
        },
        svid,
    },
    x509::{
        KeyPair, KeyType,
        cert::CertificateError,
        csr::{self, CsrError},
        key::KeyError,
    },
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::{sleep, timeout};
use tonic::{Code, Status, transport::Channel};

/// What a batch needs besides its entries. Clones share it.
#[derive(Clone)]
pub(super) struct Signing {
    pub(super) cache: Cache,
    pub(super) clock: Clock,
    pub(super) rhythm: Rhythm,
}

/// A batch that was answered.
#[derive(Debug)]
pub(super) struct Answered {
    /// What can be installed.
    pub(super) signed: Vec<Signed>,
    /// What cannot, and why.
    pub(super) failed: Vec<(EntryId, ItemError)>,
}

/// A batch that was not answered: none of its entries has an SVID.
#[derive(Debug, thiserror::Error)]
pub(super) enum BatchError {
    #[error("the server signs nothing: {}", .0.message())]
    Call(#[source] Box<Status>),
    #[error("the server has not answered within {} s", WITHIN.as_secs())]
    Timeout,
    #[error("the server gave {answered} answers to {asked} requests")]
    Count { asked: usize, answered: usize },
    #[error("there is no trust bundle to verify SVIDs with")]
    NoBundle,
    #[error(transparent)]
    Ending(#[from] BlockingError),
}

/// One entry without an SVID.
#[derive(Debug, thiserror::Error)]
pub(super) enum ItemError {
    #[error("no key")]
    Key(#[from] KeyError),
    #[error("no CSR")]
    Csr(#[from] CsrError),
    #[error("the server refuses: {message} (code {code})")]
    Refused { code: i32, message: String },
    #[error("the answer holds no SVID")]
    Empty,
    #[error("unreadable SVID")]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Svid(#[from] SvidError),
}

/// SPIRE's agent allows 30 s per call.
const WITHIN: Duration = Duration::from_secs(30);
/// How far this node's clock may be behind the server's (F-37). An SVID that starts in the future is
/// held until it starts.
const CLOCK_ALLOWANCE: Duration = Duration::from_secs(60);

/// An entry with the key that it waits for a certificate with.
struct Asked {
    entry: Arc<Entry>,
    key: KeyPair,
}

/// Entries with their keys, and the request for them.
struct Prepared {
    asked: Vec<Asked>,
    params: Vec<NewX509svidParams>,
    failed: Vec<(EntryId, ItemError)>,
}

impl BatchError {
    pub(super) fn denial(&self) -> Option<Reason> {
        match self {
            Self::Call(status) => Reason::of(status),
            _ => None,
        }
    }

    pub(super) fn code(&self) -> Code {
        match self {
            Self::Call(status) => status.code(),
            Self::Timeout => Code::DeadlineExceeded,
            Self::Count { .. } | Self::NoBundle | Self::Ending(_) => Code::Unknown,
        }
    }
}

/// Has the server sign an SVID for each entry. Dropping the future is safe.
pub(super) async fn sign(
    entries: Vec<Arc<Entry>>,
    channel: Channel,
    signing: Signing,
) -> Result<Answered, BatchError> {
    let Prepared { asked, params, mut failed } =
        TaskSet::blocking(move || prepare(entries)).await?;
    if asked.is_empty() {
        return Ok(Answered { signed: Vec::new(), failed });
    }
    let mut client = SvidClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let call = client.batch_new_x509svid(BatchNewX509svidRequest { params });
    let answers = timeout(WITHIN, call)
        .await
        .map_err(|_| BatchError::Timeout)?
        .map_err(|status| BatchError::Call(Box::new(status)))?
        .into_inner()
        .results;
    if answers.len() != asked.len() {
        return Err(BatchError::Count { asked: asked.len(), answered: answers.len() });
    }
    // The bundle as it is now: it may have changed since the request.
    let bundle = signing.cache.own_bundle().ok_or(BatchError::NoBundle)?;
    let judge = signing.clone();
    let (early, mut answered) =
        TaskSet::blocking(move || take(asked, &answers, &bundle, &judge)).await?;
    answered.failed.append(&mut failed);
    if early.is_empty() {
        return Ok(answered);
    }
    wait_until_valid(&early, &signing.clock).await;
    let bundle = signing.cache.own_bundle().ok_or(BatchError::NoBundle)?;
    let later = TaskSet::blocking(move || verify(early, &bundle, &signing)).await?;
    answered.signed.extend(later.signed);
    answered.failed.extend(later.failed);
    Ok(answered)
}

fn prepare(entries: Vec<Arc<Entry>>) -> Prepared {
    let mut prepared = Prepared { asked: Vec::new(), params: Vec::new(), failed: Vec::new() };
    for entry in entries {
        match request(&entry) {
            Ok((key, csr)) => {
                let entry_id = entry.id.as_str().to_owned();
                prepared.params.push(NewX509svidParams { entry_id, csr: csr.into() });
                prepared.asked.push(Asked { entry, key });
            }
            Err(error) => prepared.failed.push((entry.id.clone(), error)),
        }
    }
    prepared
}

fn request(entry: &Entry) -> Result<(KeyPair, Vec<u8>), ItemError> {
    let key = KeyPair::generate(KeyType::EcP256)?;
    // SPIRE's agent names the identity too; the server takes nothing from the request but the key.
    let csr = csr::create(&key, &leaf_subject(None), Some(entry.spec.spiffe_id.as_str()))?;
    Ok((key, csr))
}

/// An entry with its SVID, which nobody has verified.
type Unverified = (Arc<Entry>, X509Svid);

/// Reads the answers and verifies what has started to be valid; gives what has not besides. One trip to
/// the blocking pool: each costs both threads a wake-up.
fn take(
    asked: Vec<Asked>,
    answers: &[Answer],
    bundle: &Bundle,
    signing: &Signing,
) -> (Vec<Unverified>, Answered) {
    let now = signing.clock.now();
    let (mut early, mut ready, mut failed) = (Vec::new(), Vec::with_capacity(asked.len()), vec![]);
    for (Asked { entry, key }, answer) in asked.into_iter().zip(answers) {
        let svid = chain_of(answer)
            .and_then(|chain| Ok(X509Svid::from_key_pair(&entry.spec.spiffe_id, chain, &key)?));
        match svid {
            Ok(svid) if ahead(&svid, now).is_some() => early.push((entry, svid)),
            Ok(svid) => ready.push((entry, svid)),
            Err(error) => failed.push((entry.id.clone(), error)),
        }
    }
    let mut answered = verify(ready, bundle, signing);
    answered.failed.append(&mut failed);
    (early, answered)
}

fn chain_of(answer: &Answer) -> Result<Vec<crate::x509::Certificate>, ItemError> {
    match (&answer.status, &answer.svid) {
        (Some(ItemStatus { code, message }), _) if *code != Code::Ok as i32 => {
            Err(ItemError::Refused { code: *code, message: message.clone() })
        }
        (_, Some(found)) => Ok(svid::chain(found)?),
        (_, None) => Err(ItemError::Empty),
    }
}

/// How far in the future `svid` starts, if this clock can be so far behind.
fn ahead(svid: &X509Svid, now: SystemTime) -> Option<Duration> {
    let starts = svid.chain().iter().filter_map(|one| one.not_before().duration_since(now).ok());
    starts.filter(|ahead| !ahead.is_zero() && *ahead <= CLOCK_ALLOWANCE).max()
}

async fn wait_until_valid(svids: &[Unverified], clock: &Clock) {
    let now = clock.now();
    if let Some(ahead) = svids.iter().filter_map(|(_, svid)| ahead(svid, now)).max() {
        tracing::warn!(secs = ahead.as_secs(), "this node's clock is behind the server's");
        sleep(ahead).await;
    }
}

fn verify(svids: Vec<Unverified>, bundle: &Bundle, signing: &Signing) -> Answered {
    let (mut signed, mut failed) = (Vec::with_capacity(svids.len()), Vec::new());
    let now = signing.clock.now();
    for (entry, svid) in svids {
        let due = signing.rhythm.due(now, svid.not_after(), backoff::uniform());
        let id = entry.id.clone();
        match Signed::verify(entry, svid, due, bundle, now) {
            Ok(one) => signed.push(one),
            Err(error) => failed.push((id, error.into())),
        }
    }
    Answered { signed, failed }
}
