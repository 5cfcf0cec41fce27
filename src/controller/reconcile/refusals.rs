//! Entries that the server would not take: each is tried again by itself, later and later. Pure.

use crate::{
    controller::{
        wanted::{EntryKey, Wanted},
        world::Owner,
    },
    runtime::Backoff,
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// What the server refused.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    by_key: HashMap<EntryKey, Refused>,
    by_owner: HashMap<Owner, HashSet<EntryKey>>,
}

#[derive(Debug)]
struct Refused {
    wanted: Arc<Wanted>,
    message: String,
    backoff: Backoff,
    retry_at: Instant,
}

const RETRY_FIRST: Duration = Duration::from_secs(1);
/// What a server refuses for its content it refuses again; until somebody changes something there.
const RETRY_LAST: Duration = Duration::from_secs(300);

impl Refusals {
    /// The server refuses what is wanted with this key. Whether that is news.
    pub(super) fn add(
        &mut self,
        key: EntryKey,
        wanted: &Arc<Wanted>,
        message: String,
        now: Instant,
    ) -> bool {
        let before = self.remove(&key);
        let is_news = before.as_ref().is_none_or(|before| before.message != message);
        let backoff = before.map(|before| before.backoff);
        let mut backoff = backoff.unwrap_or_else(|| Backoff::new(RETRY_FIRST, RETRY_LAST));
        let retry_at = now + backoff.next_delay();
        self.by_owner.entry(wanted.owner.clone()).or_default().insert(key);
        let refused = Refused { wanted: Arc::clone(wanted), message, backoff, retry_at };
        self.by_key.insert(key, refused);
        is_news
    }

    /// The server has taken it, or nobody wants it any more: whom that concerns.
    pub(super) fn settle(&mut self, key: &EntryKey) -> Option<Owner> {
        self.remove(key).map(|refused| refused.wanted.owner.clone())
    }

    fn remove(&mut self, key: &EntryKey) -> Option<Refused> {
        let refused = self.by_key.remove(key)?;
        if let Some(keys) = self.by_owner.get_mut(&refused.wanted.owner) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_owner.remove(&refused.wanted.owner);
            }
        }
        Some(refused)
    }

    /// When the next one should be tried again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.by_key.values().map(|refused| refused.retry_at).min()
    }

    /// What should be tried again.
    pub(super) fn due(&self, now: Instant) -> Vec<EntryKey> {
        let due = self.by_key.iter().filter(|(_, refused)| refused.retry_at <= now);
        due.map(|(key, _)| *key).collect()
    }

    /// Whether an entry for this pod is refused: what the pod had must not be taken away.
    pub(super) fn concerns_pod(&self, pod: &str) -> bool {
        self.by_key.values().any(|refused| refused.wanted.pod.as_deref() == Some(pod))
    }

    /// How many entries of this object are refused, and why one of them is.
    pub(super) fn of(&self, owner: &Owner) -> (usize, Option<&str>) {
        let keys = self.by_owner.get(owner);
        let first = keys.and_then(|keys| keys.iter().next()).and_then(|key| self.by_key.get(key));
        (keys.map_or(0, HashSet::len), first.map(|refused| refused.message.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spiffe::{EntrySpec, Selector, SpiffeId, entry::Hint};

    fn wanted(owner: &str, pod: &str) -> (EntryKey, Arc<Wanted>) {
        let spec = EntrySpec {
            spiffe_id: SpiffeId::parse("spiffe://d/w").unwrap(),
            parent_id: SpiffeId::parse("spiffe://d/n").unwrap(),
            selectors: [Selector::parse(&format!("k8s:pod-uid:{pod}")).unwrap()]
                .into_iter()
                .collect(),
            x509_svid_ttl_secs: 0,
            jwt_svid_ttl_secs: 0,
            federates_with: Vec::new(),
            admin: false,
            downstream: false,
            expires_at: 0,
            dns_names: Vec::new(),
            store_svid: false,
            hint: Hint::default(),
            disable_x509_svid_prefetch: false,
            jwt_svid_include_jti: false,
        };
        let key = EntryKey::of(&spec);
        let owner = Owner::SpiffeId(owner.into());
        (key, Arc::new(Wanted { spec, owner, pod: Some(pod.into()) }))
    }

    #[test]
    fn a_refused_entry_is_tried_again_later_and_later_until_it_is_settled() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let (key, entry) = wanted("a", "p");
        assert!(refusals.add(key, &entry, "no".into(), now));
        assert!(!refusals.add(key, &entry, "no".into(), now), "the same again is no news");
        assert!(refusals.add(key, &entry, "never".into(), now));
        assert_eq!(refusals.of(&entry.owner), (1, Some("never")));
        assert!(refusals.concerns_pod("p") && !refusals.concerns_pod("q"));
        assert_eq!(refusals.due(now), []);
        assert_eq!(refusals.due(refusals.next_retry().unwrap()), [key]);
        for _ in 0..20 {
            refusals.add(key, &entry, "no".into(), now);
        }
        assert!(refusals.next_retry().unwrap() <= now + RETRY_LAST);
        assert_eq!(refusals.settle(&key), Some(entry.owner.clone()));
        assert_eq!((refusals.of(&entry.owner), refusals.next_retry()), ((0, None), None));
    }
}
