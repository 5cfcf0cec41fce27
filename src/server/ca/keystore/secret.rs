//! Keys in a Kubernetes Secret, and beside them all that a server without its data needs to go on as the
//! same authority: the CA's journal, and the bundle with its sequence.
//!
//! One server has the Secret at a time, the one that opened it last: it writes a mark of its own, and from
//! then on what an older one has read is outdated and its writes are refused. So a new pod takes over from
//! the one that it replaces, and two servers never write in turn. Every call but [`SecretPlace::open`]
//! blocks; none may run on the event loop.

use super::{
    error::SecretError,
    file::{self, Keys},
};
use crate::{
    k8s::{Fault, KubeClient, KubeError, secret::SecretObject},
    runtime::Backoff,
};
use parking_lot::Mutex;
use std::{collections::BTreeMap, fmt, time::Duration};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};
use uuid::Uuid;

/// The values' names in the Secret. The keys are in the form of SPIRE's file, so that a file can be put
/// into a Secret and taken out of one.
const KEYS: &str = "keys.json";
const JOURNAL: &str = "journal.json";
const BUNDLE: &str = "bundle.json";
const HOLDER: &str = "holder";
/// Kubernetes' `MaxSecretSize`, of all values together.
const MAX_BYTES: usize = 1024 * 1024;
/// An API server that restarts is back by then; the kubelet starts the pod anew otherwise.
const OPEN_WITHIN: Duration = Duration::from_secs(60);
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_AT_MOST: Duration = Duration::from_secs(5);

/// A Secret that this server holds.
pub(super) struct SecretPlace {
    client: KubeClient,
    namespace: String,
    name: String,
    /// Marks what this server has written.
    holder: String,
    runtime: Handle,
    held: Mutex<Held>,
}

struct Held {
    object: SecretObject,
    memory: Option<Memory>,
}

/// What a server without its data needs to go on as the same authority, as bytes whose meaning is others'
/// affair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The CA's journal.
    pub journal: Vec<u8>,
    /// The trust bundle as a SPIFFE document.
    pub bundle: Vec<u8>,
}

impl SecretPlace {
    /// Takes the Secret over, or makes it, and reads its keys. Waits for an API server that is away, for a
    /// minute.
    pub(super) async fn open(
        client: KubeClient,
        namespace: String,
        name: String,
    ) -> Result<(Self, Keys), SecretError> {
        let holder = Uuid::new_v4().to_string();
        let place = Place { client: &client, namespace: &namespace, name: &name };
        let object = place.take(&holder).await?;
        let keys = place.keys(&object)?;
        let value = |key| object.get(key).map(<[u8]>::to_vec);
        let memory =
            value(JOURNAL).zip(value(BUNDLE)).map(|(journal, bundle)| Memory { journal, bundle });
        let held = Mutex::new(Held { object, memory });
        Ok((Self { client, namespace, name, holder, runtime: Handle::current(), held }, keys))
    }

    pub(super) fn memory(&self) -> Option<Memory> {
        self.held.lock().memory.clone()
    }

    /// Has the Secret hold `keys`, and what it remembers beside them.
    pub(super) fn write(&self, keys: &Keys) -> Result<(), SecretError> {
        let mut held = self.held.lock();
        let memory = held.memory.clone();
        self.put(&mut held, keys, memory)
    }

    /// Has the Secret remember `memory` beside `keys`. Nothing is written if it does already.
    pub(super) fn remember(&self, keys: &Keys, memory: Memory) -> Result<(), SecretError> {
        let mut held = self.held.lock();
        if held.memory.as_ref() == Some(&memory) {
            return Ok(());
        }
        self.put(&mut held, keys, Some(memory))
    }

    fn put(&self, held: &mut Held, keys: &Keys, memory: Option<Memory>) -> Result<(), SecretError> {
        let place = Place { client: &self.client, namespace: &self.namespace, name: &self.name };
        let written = place.replace(&held.object, |known| {
            let mut data = others(known);
            data.insert(HOLDER.to_owned(), self.holder.clone().into_bytes());
            data.insert(KEYS.to_owned(), file::render(keys).to_vec());
            if let Some(memory) = &memory {
                data.insert(JOURNAL.to_owned(), memory.journal.clone());
                data.insert(BUNDLE.to_owned(), memory.bundle.clone());
            }
            data
        });
        held.object = self.runtime.block_on(written)?;
        held.memory = memory;
        Ok(())
    }
}

impl fmt::Debug for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretPlace({}/{})", self.namespace, self.name)
    }
}

type Data = BTreeMap<String, Vec<u8>>;

/// The values that are not ours: they stay.
fn others(object: &SecretObject) -> Data {
    let is_others = |(key, _): &(&str, &[u8])| ![KEYS, JOURNAL, BUNDLE, HOLDER].contains(key);
    object.data().filter(is_others).map(|(key, value)| (key.to_owned(), value.to_vec())).collect()
}

/// One Secret of one API server.
#[derive(Clone, Copy)]
struct Place<'a> {
    client: &'a KubeClient,
    namespace: &'a str,
    name: &'a str,
}

impl Place<'_> {
    /// Writes the mark of a new holder, into a new Secret if there is none.
    async fn take(self, holder: &str) -> Result<SecretObject, SecretError> {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_AT_MOST);
        let deadline = Instant::now() + OPEN_WITHIN;
        loop {
            let error = match self.try_take(holder).await {
                Ok(object) => return Ok(object),
                Err(error) => error,
            };
            let delay = backoff.next_delay();
            if !error.may_pass() || Instant::now() + delay > deadline {
                return Err(error);
            }
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the authority's keys are waited for"
            );
            sleep(delay).await;
        }
    }

    async fn try_take(self, holder: &str) -> Result<SecretObject, SecretError> {
        let Self { client, namespace, name } = self;
        let mark = |mut data: Data| {
            data.insert(HOLDER.to_owned(), holder.as_bytes().to_vec());
            data
        };
        let found = client.secret(namespace, name).await;
        let Some(known) = found.map_err(|source| self.failed("get", source))? else {
            let made = client.create_secret(namespace, name, mark(Data::new())).await;
            return made.map_err(|source| self.not_made(source));
        };
        // What cannot be read is left as it is.
        self.keys(&known)?;
        let all = known.data().map(|(key, value)| (key.to_owned(), value.to_vec())).collect();
        let marked = client.replace_secret(namespace, name, &known, mark(all)).await;
        marked.map_err(|source| self.failed("update", source))
    }

    fn keys(self, object: &SecretObject) -> Result<Keys, SecretError> {
        let Some(text) = object.get(KEYS) else { return Ok(Keys::new()) };
        file::parse(text)
            .map_err(|source| SecretError::Damaged { secret: self.to_string(), source })
    }

    /// Replaces what is `known`. If somebody has written since, and left the mark, it was this server, whose
    /// answer was lost.
    async fn replace(
        self,
        known: &SecretObject,
        data: impl Fn(&SecretObject) -> Data + Sync,
    ) -> Result<SecretObject, SecretError> {
        let Self { client, namespace, name } = self;
        let wanted = self.bounded(data(known))?;
        let source = match client.replace_secret(namespace, name, known, wanted).await {
            Ok(object) => return Ok(object),
            Err(source) => source,
        };
        if source.fault() == Fault::Missing {
            // Deleted under the server, which has everything.
            let made = client.create_secret(namespace, name, self.bounded(data(known))?).await;
            return made.map_err(|source| self.not_made(source));
        }
        if !source.is_conflict() {
            return Err(self.failed("update", source));
        }
        let found = client.secret(namespace, name).await;
        let found = found.map_err(|source| self.failed("get", source))?;
        let fresh = found
            .filter(|fresh| fresh.get(HOLDER) == known.get(HOLDER))
            .ok_or_else(|| SecretError::Taken { secret: self.to_string() })?;
        let wanted = self.bounded(data(&fresh))?;
        let replaced = client.replace_secret(namespace, name, &fresh, wanted).await;
        replaced.map_err(|source| self.failed("update", source))
    }

    fn bounded(self, data: Data) -> Result<Data, SecretError> {
        let bytes = data.values().map(Vec::len).sum();
        if bytes > MAX_BYTES {
            return Err(SecretError::TooLarge { secret: self.to_string(), bytes, max: MAX_BYTES });
        }
        Ok(data)
    }

    fn failed(self, verb: &'static str, source: KubeError) -> SecretError {
        let secret = self.to_string();
        if source.is_forbidden() {
            SecretError::Forbidden { verb, secret, source }
        } else {
            SecretError::Kube { verb, secret, source }
        }
    }

    fn not_made(self, source: KubeError) -> SecretError {
        if !source.is_forbidden() {
            return self.failed("create", source);
        }
        let (namespace, name) = (self.namespace.to_owned(), self.name.to_owned());
        SecretError::Missing { secret: self.to_string(), namespace, name, source }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
