//! One connection's caller: who it is, attested once for streams that open together, and what all its
//! streams must know of each other.

use super::{questions::OpenQuestions, secret::SecretNames};
use crate::{
    agent::{
        cache::{Cache, Subscription, View},
        metrics::ServeMetrics,
        serve::secret::Validation,
        workload::attest::{AttestError, Attestor},
    },
    runtime::{Backoff, Bell, Clock, Shutdown},
    spiffe::SelectorSet,
    transport::{
        peer::PeerCred,
        status::{Kind, shortened},
    },
};
use parking_lot::Mutex;
use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use tonic::{Code, Status};

/// What every connection is served with.
pub struct Serving {
    /// What there is to serve.
    pub cache: Cache,
    /// Says who callers are.
    pub attestor: Attestor,
    /// The names of a workload's own things.
    pub names: SecretNames,
    /// How validation contexts are written unless an Envoy asks otherwise.
    pub validation: Validation,
    /// Counts what is served.
    pub metrics: ServeMetrics,
    /// Tells whether an SVID is still valid when it is sent.
    pub clock: Clock,
    /// Ends every stream.
    pub shutdown: Shutdown,
    /// Who is connected.
    pub callers: Callers,
}

/// The process at the other end of a connection.
pub struct Caller {
    /// What it is served with.
    pub serving: Arc<Serving>,
    peer: Arc<PeerCred>,
    attested: tokio::sync::Mutex<Option<(Instant, SelectorSet)>>,
    /// What it was attested to be last, for streams that were opened before.
    selectors: Mutex<Option<SelectorSet>>,
    /// Its selectors have changed since its first stream was opened.
    has_become_another: AtomicBool,
    /// A response was refused and nothing that differs was sent since.
    is_refusing: AtomicBool,
    /// How often bundle streams were told to send their bytes anew.
    nudges: AtomicU8,
    /// What tells them so.
    bells: Mutex<Vec<Weak<Bell>>>,
    /// What its streams wait for.
    pub(super) questions: OpenQuestions,
    /// Hashes of what was explained in the log already.
    explained: Mutex<HashSet<u64>>,
}

/// The callers that are connected.
#[derive(Default)]
pub struct Callers(Mutex<Connected>);

#[derive(Default)]
struct Connected {
    callers: Vec<Weak<Caller>>,
    /// How many there were when those that had gone were last removed.
    last: usize,
}

/// Below this many it is not worth looking who has gone.
const FEW: usize = 64;

/// Envoy opens its streams within milliseconds of each other; a process that changes its user or group
/// is seen as changed by the first stream that it opens a second later.
const ATTESTATION_IS_FRESH: Duration = Duration::from_secs(1);

impl Callers {
    /// Adds a caller for as long as it is connected.
    pub(super) fn add(&self, caller: &Arc<Caller>) {
        let mut connected = self.0.lock();
        if connected.callers.len() > 2 * connected.last + FEW {
            connected.forget_gone();
        }
        connected.callers.push(Arc::downgrade(caller));
    }

    /// The connections of process `pid`.
    pub(super) fn of(&self, pid: i32) -> Vec<Arc<Caller>> {
        let callers = self.all().into_iter();
        callers.filter(|caller| caller.pid() == pid).collect()
    }

    pub(super) fn all(&self) -> Vec<Arc<Caller>> {
        let mut connected = self.0.lock();
        connected.forget_gone();
        connected.callers.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Connected {
    fn forget_gone(&mut self) {
        self.callers.retain(|caller| caller.strong_count() > 0);
        self.last = self.callers.len();
    }
}

impl Caller {
    /// The caller of a new connection. Nothing is asked about it yet.
    #[must_use]
    pub fn new(peer: Arc<PeerCred>, serving: Arc<Serving>) -> Self {
        Self {
            serving,
            peer,
            attested: tokio::sync::Mutex::new(None),
            selectors: Mutex::new(None),
            has_become_another: AtomicBool::new(false),
            is_refusing: AtomicBool::new(false),
            nudges: AtomicU8::new(0),
            bells: Mutex::default(),
            questions: OpenQuestions::default(),
            explained: Mutex::default(),
        }
    }

    /// The caller's process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.peer.pid
    }

    /// The caller's selectors; the process is asked about once for streams that open together.
    /// Dropping it is safe.
    ///
    /// # Errors
    /// When an attestor cannot tell, or the process has ended.
    pub async fn attest(&self) -> Result<SelectorSet, AttestError> {
        let mut attested = self.attested.lock().await;
        if let Some((at, selectors)) = &*attested
            && at.elapsed() < ATTESTATION_IS_FRESH
            && self.peer.is_alive()
        {
            return Ok(selectors.clone());
        }
        let selectors = self.serving.attestor.attest(&self.peer).await?;
        *attested = Some((Instant::now(), selectors.clone()));
        self.became(&selectors);
        Ok(selectors)
    }

    /// Attests it anew if it was attested before, and has its streams follow what it is now. Dropping
    /// it is safe.
    ///
    /// # Errors
    /// As for [`Caller::attest`]; it stays what it was.
    pub(super) async fn attest_again(&self) -> Result<(), AttestError> {
        if self.selectors.lock().is_none() {
            return Ok(());
        }
        let selectors = self.serving.attestor.attest(&self.peer).await?;
        self.became(&selectors);
        Ok(())
    }

    fn became(&self, selectors: &SelectorSet) {
        let before = self.selectors.lock().replace(selectors.clone());
        if before.is_some_and(|before| before != *selectors) {
            tracing::info!(pid = self.pid(), ?selectors, "the caller has other selectors now");
            self.has_become_another.store(true, Ordering::Relaxed);
            self.wake_streams();
        }
    }

    /// The view of `subscription`, which is `view` unless the caller has become somebody else meanwhile:
    /// then the subscription moves.
    pub(super) fn keep_up(&self, subscription: &mut Subscription, view: Arc<View>) -> Arc<View> {
        // Looked at for each push to each stream, and hardly ever so.
        if !self.has_become_another.load(Ordering::Relaxed) {
            return view;
        }
        let moved = {
            let now = self.selectors.lock();
            now.as_ref().filter(|now| *now != subscription.selectors()).cloned()
        };
        match moved {
            Some(selectors) => {
                subscription.move_to(&selectors);
                subscription.current()
            }
            None => view,
        }
    }

    /// Attests and subscribes, waiting as long as an attestor cannot tell: an answer from partial
    /// knowledge would be wrong for the stream's life (agent.md §3.2). Dropping it is safe.
    pub(super) async fn subscribe_patiently(&self) -> Result<Subscription, Status> {
        let selectors = tokio::select! {
            biased;
            () = self.serving.shutdown.requested() => return Err(shutting_down()),
            selectors = self.attest_patiently() => selectors?,
        };
        Ok(self.serving.cache.subscribe(&selectors))
    }

    async fn attest_patiently(&self) -> Result<SelectorSet, Status> {
        // 100 ms to 5 s: a kubelet that restarts is back in seconds, and Envoy waits without asking.
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            match self.attest().await {
                Ok(selectors) => return Ok(selectors),
                Err(AttestError::CallerEnded { .. }) => return Err(attestation_failed()),
                Err(error) => {
                    tracing::warn!(
                        pid = self.pid(),
                        error = &error as &dyn std::error::Error,
                        "workload attestation failed; its stream waits"
                    );
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    /// Attests and subscribes at once or not at all, for clients that ask again themselves.
    pub(super) async fn subscribe(&self) -> Result<Subscription, Status> {
        match self.attest().await {
            Ok(selectors) => Ok(self.serving.cache.subscribe(&selectors)),
            Err(error) => {
                tracing::warn!(
                    pid = self.pid(),
                    error = &error as &dyn std::error::Error,
                    "workload attestation failed"
                );
                Err(attestation_failed())
            }
        }
    }

    /// The caller refused a response.
    pub(super) fn refused(&self) {
        self.is_refusing.store(true, Ordering::Relaxed);
    }

    /// Whether the last word on some response was a refusal.
    pub(super) fn is_refusing(&self) -> bool {
        self.is_refusing.load(Ordering::Relaxed)
    }

    /// The caller took what replaces a refused response. An Envoy puts it to use only once the bytes of
    /// its bundle change too (envoyproxy/envoy#42438), and not before: it would refuse the bundle for
    /// the sake of the bad certificate.
    pub(super) fn corrected(&self) {
        if self.is_refusing.swap(false, Ordering::Relaxed) {
            let next = |count: u8| Some(count.wrapping_add(1).max(1));
            // Fails only where `next` gives nothing.
            let _before = self.nudges.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
            self.wake_streams();
        }
    }

    fn wake_streams(&self) {
        self.bells.lock().iter().filter_map(Weak::upgrade).for_each(|bell| bell.ring());
    }

    /// How often bundle streams were told to send their bytes anew.
    pub(super) fn nudges(&self) -> u8 {
        self.nudges.load(Ordering::Relaxed)
    }

    /// Rings `bell` whenever [`Caller::nudges`] grows or the caller has become somebody else, for as long
    /// as anybody else holds it.
    pub(super) fn wake_by(&self, bell: &Arc<Bell>) {
        let mut bells = self.bells.lock();
        bells.retain(|bell| bell.strong_count() > 0);
        bells.push(Arc::downgrade(bell));
    }

    /// Explains once why `name` is not answered.
    pub(super) fn explain_foreign(&self, name: &Arc<str>) {
        if !self.is_first_mention(("foreign", name)) {
            return;
        }
        tracing::info!(
            pid = self.pid(),
            name = %name.escape_default(),
            "SDS name is not one of ours; it stays unanswered and disturbs no other name. Istio before \
             1.25 asks for file-cert: and file-root: names here: upgrade it or use credentialName"
        );
    }

    /// Explains once that no entry matches.
    pub(super) fn explain_waiting(&self, name: &Arc<str>, view: &View, selectors: &SelectorSet) {
        if !view.is_synced || view.pending > 0 || !self.is_first_mention(("waiting", name)) {
            return;
        }
        tracing::info!(
            pid = self.pid(),
            name = %name.escape_default(),
            ?selectors,
            "no registration entry gives this workload that identity yet; its stream waits for one"
        );
    }

    /// Tells once that a response for `names` was refused for `reason`: whoever refuses in a loop is one
    /// fact, and the metrics count.
    pub(super) fn explain_refusal(&self, names: &[String], reason: &str) {
        if !self.is_first_mention(("refusal", names, reason)) {
            return;
        }
        // A request may hold a thousand names.
        let names: Vec<_> = names.iter().take(8).collect();
        tracing::error!(
            pid = self.pid(),
            ?names,
            reason = %shortened(reason).escape_debug(),
            "envoy refused a secret and keeps its last one; it is not sent again until it changes"
        );
    }

    /// Tells once that a call ended by the caller's own fault.
    pub(super) fn explain_end(&self, code: Code, reason: &str) {
        if self.is_first_mention(("end", reason)) {
            let reason = shortened(reason);
            tracing::warn!(pid = self.pid(), ?code, reason, "SDS request refused");
        }
    }

    fn is_first_mention(&self, what: impl Hash) -> bool {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        // Bounded: a hostile caller gets its first faults explained and no more.
        let mut explained = self.explained.lock();
        explained.len() < 64 && explained.insert(hasher.finish())
    }
}

/// What a stream is told when the agent ends.
pub(super) fn shutting_down() -> Status {
    Kind::Unavailable.status("the agent is shutting down; connect again")
}

fn attestation_failed() -> Status {
    Kind::Unavailable.status("workload attestation failed")
}
