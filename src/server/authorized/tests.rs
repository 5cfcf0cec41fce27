use super::*;
use crate::{
    runtime::clock::from_unix_secs,
    server::store::{Created, EntryPatch, NewEntry, StoreConfig},
    spiffe::{Selector, entry::Hint},
};
use proptest::prelude::*;
use std::time::Duration;

const START: i64 = 1_000;

fn id(path: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://example.org{path}")).unwrap()
}

fn selectors(texts: &[&str]) -> SelectorSet {
    texts.iter().map(|text| Selector::parse(text).unwrap()).collect()
}

fn spec(parent: &str, identity: &str, on: &[&str]) -> EntrySpec {
    EntrySpec {
        spiffe_id: id(identity),
        parent_id: id(parent),
        selectors: selectors(on),
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
    }
}

fn node(agent: &str, on: &[&str]) -> Node {
    Node {
        id: id(agent),
        attestation_type: "join_token".to_owned(),
        serial: "1".to_owned(),
        new_serial: String::new(),
        expires_at: START + 100,
        new_expires_at: 0,
        banned: false,
        can_reattest: true,
        selectors: selectors(on),
        agent_version: String::new(),
    }
}

struct World {
    store: Store,
    authorized: Authorized,
    clock: Clock,
}

impl World {
    fn new() -> Self {
        let clock = Clock::anchored_at(from_unix_secs(START));
        let store = Store::open(&StoreConfig::Memory, clock.clone()).unwrap();
        let domain = TrustDomain::parse("example.org").unwrap();
        let authorized = Authorized::new(store.clone(), &domain, clock.clone());
        Self { store, authorized, clock }
    }

    async fn create(&self, spec: EntrySpec) -> Arc<Entry> {
        let new = NewEntry { id: None, spec };
        match self.store.create_entries(vec![new]).await.unwrap().remove(0).unwrap() {
            Created::New(entry) | Created::Similar(entry) => entry,
        }
    }

    async fn delete(&self, entry: &Entry) {
        self.store.delete_entries(vec![entry.id.clone()]).await.unwrap().remove(0).unwrap();
    }

    /// The paths that the agent's entries give, sorted.
    fn paths(&self, agent: &str) -> Vec<String> {
        let entries = self.authorized.entries_for(&id(agent));
        let mut paths: Vec<_> =
            entries.iter().map(|entry| entry.spec.spiffe_id.path().to_owned()).collect();
        paths.sort();
        paths
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_uses_its_own_entries_those_of_its_aliases_and_what_is_nested_below() {
    let world = World::new();
    world
        .store
        .attest_node(node("/spire/agent/a", &["k:cluster:c", "k:zone:1"]), None)
        .await
        .unwrap();
    world.create(spec("/spire/agent/a", "/own", &["u:1"])).await;
    world.create(spec("/own", "/nested", &["u:1"])).await;
    world.create(spec("/spire/server", "/alias", &["k:cluster:c"])).await;
    world.create(spec("/spire/server", "/foreign", &["k:cluster:c", "k:zone:2"])).await;
    world.create(spec("/alias", "/shared", &["u:1"])).await;
    world.create(spec("/foreign", "/hidden", &["u:1"])).await;
    world.create(spec("/spire/agent/b", "/other", &["u:1"])).await;
    assert_eq!(world.paths("/spire/agent/a"), ["/nested", "/own", "/shared"]);
    assert_eq!(world.paths("/spire/agent/b"), ["/other"]);
    assert_eq!(world.paths("/spire/agent/unknown"), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_cycle_ends_the_walk() {
    let world = World::new();
    for (parent, identity) in
        [("/spire/agent/a", "/x"), ("/x", "/y"), ("/y", "/x"), ("/y", "/y"), ("/y", "/z")]
    {
        world.create(spec(parent, identity, &["u:1"])).await;
    }
    assert_eq!(world.paths("/spire/agent/a"), ["/x", "/x", "/y", "/y", "/z"]);
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_gives_nothing_and_leads_nowhere() {
    let world = World::new();
    let agent = "/spire/agent/a";
    world.store.attest_node(node(agent, &["k:1"]), None).await.unwrap();
    world.create(spec("/spire/server", "/alias", &["k:1"])).await;
    world.create(spec("/alias", "/by-alias", &["u:1"])).await;
    let ends = EntrySpec { expires_at: START + 50, ..spec(agent, "/ends", &["u:1"]) };
    let ending = world.create(ends).await;
    world.create(spec("/ends", "/below", &["u:1"])).await;
    assert_eq!(world.paths(agent), ["/below", "/by-alias", "/ends"]);
    tokio::time::advance(Duration::from_secs(49)).await;
    assert!(world.authorized.may_use(&id(agent), &ending.id).is_some());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(world.authorized.may_use(&id(agent), &ending.id).is_none());
    assert_eq!(world.paths(agent), ["/by-alias"]);
    tokio::time::advance(Duration::from_secs(50)).await;
    assert_eq!(world.paths(agent), ["/by-alias"], "the agent's SVID is valid until the end");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(world.paths(agent), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn the_parents_are_the_same_allocation_until_they_change() {
    let world = World::new();
    let agent = id("/spire/agent/a");
    world.store.attest_node(node("/spire/agent/a", &["k:1"]), None).await.unwrap();
    let own = world.create(spec("/spire/agent/a", "/own", &["u:1"])).await;
    let first = world.authorized.parents_of(&agent);
    assert_eq!(*first, HashSet::from([agent.clone()]));
    world.create(spec("/spire/agent/a", "/more", &["u:1"])).await;
    world.create(spec("/elsewhere", "/more", &["u:1"])).await;
    world.store.set_agent_version(&agent, "2".to_owned()).await.unwrap();
    world.delete(&own).await;
    assert!(Arc::ptr_eq(&first, &world.authorized.parents_of(&agent)));
    world.create(spec("/spire/server", "/alias", &["k:1"])).await;
    assert!(Arc::ptr_eq(&first, &world.authorized.parents_of(&agent)), "nobody's parent yet");
    world.create(spec("/alias", "/shared", &["u:1"])).await;
    let second = world.authorized.parents_of(&agent);
    assert_eq!(*second, HashSet::from([agent.clone(), id("/alias")]));
    world.store.attest_node(node("/spire/agent/a", &["k:2"]), None).await.unwrap();
    assert_eq!(*world.authorized.parents_of(&agent), HashSet::from([agent]));
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_would_be_its_own_ancestor_is_known() {
    let world = World::new();
    world.create(spec("/spire/agent/a", "/x", &["u:1"])).await;
    world.create(spec("/x", "/y", &["u:1"])).await;
    world.create(spec("/y", "/z", &["u:1"])).await;
    let closes =
        |parent, identity| world.authorized.would_close_a_cycle(&spec(parent, identity, &["u:2"]));
    assert!(closes("/x", "/x") && closes("/y", "/x") && closes("/z", "/x") && closes("/z", "/y"));
    assert!(!closes("/x", "/z") && !closes("/spire/server", "/x") && !closes("/w", "/x"));
}

const AGENTS: [&str; 2] = ["/spire/agent/a", "/spire/agent/b"];
const PARENTS: [&str; 8] = [
    "/spire/server",
    "/spire/server",
    "/spire/agent/a",
    "/spire/agent/b",
    "/n/0",
    "/n/1",
    "/n/2",
    "/n/3",
];
const IDENTITIES: [&str; 5] = ["/n/0", "/n/1", "/n/2", "/n/3", "/leaf"];
const NODE_SELECTORS: [&[&str]; 5] =
    [&["k:1"], &["k:2"], &["k:1", "k:2"], &["k:3"], &["k:1", "k:3"]];

#[derive(Clone, Debug)]
enum Step {
    Create { parent: usize, identity: usize, on: usize, ends_after: Option<i64> },
    Move { entry: usize, parent: usize, identity: usize },
    Delete { entry: usize },
    Attest { agent: usize, on: usize, life: i64 },
    Evict { agent: usize },
    Wait { secs: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let place = (0..PARENTS.len(), 0..IDENTITIES.len());
    prop_oneof![
        5 => (place.clone(), 0..NODE_SELECTORS.len(), proptest::option::weighted(0.3, 1..60_i64))
            .prop_map(|((parent, identity), on, ends_after)| {
                Step::Create { parent, identity, on, ends_after }
            }),
        2 => (any::<usize>(), place)
            .prop_map(|(entry, (parent, identity))| Step::Move { entry, parent, identity }),
        2 => any::<usize>().prop_map(|entry| Step::Delete { entry }),
        2 => (0..AGENTS.len(), 0..NODE_SELECTORS.len(), 1..90_i64)
            .prop_map(|(agent, on, life)| Step::Attest { agent, on, life }),
        1 => (0..AGENTS.len()).prop_map(|agent| Step::Evict { agent }),
        2 => (1..40_u64).prop_map(|secs| Step::Wait { secs }),
    ]
}

async fn take(world: &World, step: Step) {
    let entries = world.store.entries();
    let now = world.clock.unix_now();
    match step {
        Step::Create { parent, identity, on, ends_after } => {
            let spec = spec(PARENTS[parent], IDENTITIES[identity], NODE_SELECTORS[on]);
            let expires_at = ends_after.map_or(0, |secs| now + secs);
            world.create(EntrySpec { expires_at, ..spec }).await;
        }
        Step::Move { entry, parent, identity } if !entries.is_empty() => {
            let patch = EntryPatch {
                parent_id: Some(id(PARENTS[parent])),
                spiffe_id: Some(id(IDENTITIES[identity])),
                ..EntryPatch::default()
            };
            let entry = entries[entry % entries.len()].id.clone();
            let _may_be_similar = world.store.update_entries(vec![(entry, patch)]).await.unwrap();
        }
        Step::Delete { entry } if !entries.is_empty() => {
            world.delete(&entries[entry % entries.len()]).await;
        }
        Step::Move { .. } | Step::Delete { .. } => {}
        Step::Attest { agent, on, life } => {
            let attested =
                Node { expires_at: now + life, ..node(AGENTS[agent], NODE_SELECTORS[on]) };
            world.store.attest_node(attested, None).await.unwrap();
        }
        Step::Evict { agent } => {
            world.store.delete_node(&id(AGENTS[agent])).await.unwrap();
        }
        Step::Wait { secs } => tokio::time::advance(Duration::from_secs(secs)).await,
    }
}

/// What server.md §3.4 says, word by word, over all entries.
fn oracle(world: &World, agent: &str) -> HashSet<EntryId> {
    let now = world.clock.unix_now();
    let alive: Vec<_> =
        world.store.entries().into_iter().filter(|entry| !entry.spec.has_ended(now)).collect();
    let node = world.store.node(&id(agent)).filter(|node| node.expires_at >= now);
    let mut starts = HashSet::from([id(agent)]);
    for alias in alive.iter().filter(|entry| entry.spec.parent_id == id("/spire/server")) {
        if node.as_ref().is_some_and(|node| alias.spec.selectors.is_subset_of(&node.selectors)) {
            starts.insert(alias.spec.spiffe_id.clone());
        }
    }
    loop {
        let below: Vec<_> =
            alive.iter().filter(|entry| starts.contains(&entry.spec.parent_id)).collect();
        let known = starts.len();
        starts.extend(below.iter().map(|entry| entry.spec.spiffe_id.clone()));
        if starts.len() == known {
            return below.into_iter().map(|entry| entry.id.clone()).collect();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_index_agrees_with_the_definition_after_every_step(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let world = World::new();
            for step in steps {
                take(&world, step).await;
                for agent in AGENTS {
                    let expected = oracle(&world, agent);
                    let entries = world.authorized.entries_for(&id(agent));
                    let found: HashSet<_> = entries.iter().map(|e| e.id.clone()).collect();
                    assert_eq!(found.len(), entries.len(), "each entry once");
                    assert_eq!(found, expected, "{agent}");
                    for entry in world.store.entries() {
                        let may = world.authorized.may_use(&id(agent), &entry.id).is_some();
                        assert_eq!(may, expected.contains(&entry.id));
                    }
                }
            }
        });
    }
}
