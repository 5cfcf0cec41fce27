use super::*;
use crate::{
    agent::cache::StoredSvid as CachedSvid,
    spiffe::{EntrySpec, Selector, TrustDomain, entry::Hint},
    testing::ca::TestCa,
};
use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc, time::Duration};

fn entry(trust_domain: &TrustDomain, name: &str) -> Entry {
    let spec = EntrySpec {
        spiffe_id: trust_domain.member(&format!("/{name}")).unwrap(),
        parent_id: trust_domain.member("/spire/agent/join_token/x").unwrap(),
        selectors: [Selector::parse("unix:uid:7").unwrap()].into_iter().collect(),
        x509_svid_ttl_secs: 60,
        jwt_svid_ttl_secs: 0,
        federates_with: Vec::new(),
        admin: false,
        downstream: false,
        expires_at: 0,
        dns_names: Vec::new(),
        store_svid: false,
        hint: Hint::parse("internal").unwrap(),
        disable_x509_svid_prefetch: false,
        jwt_svid_include_jti: false,
    };
    Entry { id: EntryId::parse(name).unwrap(), revision: 3, created_at: 9, spec }
}

fn snapshot() -> (SpiffeId, CacheSnapshot) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let ca = TestCa::new("example.org", now);
    let agent = ca.trust_domain().member("/spire/agent/join_token/x").unwrap();
    let (web, idle) = (entry(ca.trust_domain(), "web"), entry(ca.trust_domain(), "idle"));
    let svid = ca.svid(&web.spec.spiffe_id, Duration::from_secs(60));
    let web = Arc::new(web);
    let due = now + Duration::from_secs(30);
    let snapshot = CacheSnapshot {
        svids: vec![CachedSvid { entry: Arc::clone(&web), svid, due }],
        entries: vec![web, Arc::new(idle)],
        bundles: vec![Arc::new(ca.bundle(5, &[]))],
    };
    (agent, snapshot)
}

fn stored() -> (tempfile::TempDir, Handover, SpiffeId, CacheSnapshot) {
    let dir = tempfile::tempdir().unwrap();
    let handover = Handover::new(dir.path().join("svids"), "boot".to_owned());
    let (agent, snapshot) = snapshot();
    handover.store(&agent, &snapshot).unwrap();
    (dir, handover, agent, snapshot)
}

#[test]
fn everything_that_one_process_knew_reaches_the_next() {
    let (dir, handover, agent, snapshot) = stored();
    let inherited = handover.load(&agent).unwrap().unwrap();
    assert_eq!(
        inherited.entries.iter().collect::<Vec<_>>(),
        [&*snapshot.entries[0], &*snapshot.entries[1]]
    );
    assert_eq!(inherited.bundles, [(*snapshot.bundles[0]).clone()]);
    let [(entry, svid, due)] = inherited.svids.as_slice() else { panic!("{inherited:?}") };
    assert_eq!((entry, *due), (&*snapshot.entries[0], snapshot.svids[0].due));
    assert_eq!(svid.chain(), snapshot.svids[0].svid.chain());
    assert_eq!(svid.key().pkcs8_der(), snapshot.svids[0].svid.key().pkcs8_der());
    let mode = fs::metadata(dir.path().join("svids")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_file_truncated_anywhere_hands_over_nothing() {
    let (dir, handover, agent, _) = stored();
    let path = dir.path().join("svids");
    let whole = fs::read(&path).unwrap();
    for end in 0..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        assert!(handover.load(&agent).is_err(), "accepted {end} of {} bytes", whole.len());
    }
    let mut flipped = whole;
    let last = flipped.len() / 2;
    flipped[last] ^= 1;
    fs::write(&path, &flipped).unwrap();
    assert!(matches!(handover.load(&agent), Err(HandoverError::Digest)));
}

#[test]
fn another_boot_and_another_agent_inherit_nothing() {
    let (dir, handover, agent, _) = stored();
    let rebooted = Handover::new(dir.path().join("svids"), "other boot".to_owned());
    assert!(matches!(rebooted.load(&agent), Err(HandoverError::Foreign)));
    let stranger = agent.trust_domain().member("/spire/agent/join_token/y").unwrap();
    assert!(matches!(handover.load(&stranger), Err(HandoverError::Foreign)));
}

#[test]
fn an_svid_of_another_revision_of_its_entry_is_not_handed_over() {
    let (_dir, handover, agent, mut snapshot) = stored();
    let mut newer = (*snapshot.entries[0]).clone();
    newer.revision += 1;
    snapshot.entries[0] = Arc::new(newer);
    handover.store(&agent, &snapshot).unwrap();
    let inherited = handover.load(&agent).unwrap().unwrap();
    assert!(inherited.svids.is_empty() && inherited.entries.len() == 2);
}

#[test]
fn a_wiped_file_is_gone() {
    let (_dir, handover, agent, _) = stored();
    handover.wipe().unwrap();
    handover.wipe().unwrap();
    assert!(handover.load(&agent).unwrap().is_none());
}
