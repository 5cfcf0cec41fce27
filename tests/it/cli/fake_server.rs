//! What the server's commands ask of a server, answered from a list of entries and a list of agents,
//! with the refusals that a real SPIRE was recorded to give.

use super::answers::{self, Answer};
use bytes::Bytes;
use finial::{
    runtime::{Clock, TaskSet},
    spiffe::SelectorSet,
    testing::ca::TestCa,
    wire::{
        entry,
        proto::spire::api::{
            server::{
                agent::v1::{
                    BanAgentRequest, CountAgentsResponse, CreateJoinTokenRequest,
                    DeleteAgentRequest, GetAgentRequest, ListAgentsResponse,
                },
                bundle::v1::CountBundlesResponse,
                entry::v1::{
                    BatchCreateEntryRequest, BatchCreateEntryResponse, BatchDeleteEntryRequest,
                    BatchDeleteEntryResponse, BatchUpdateEntryRequest, BatchUpdateEntryResponse,
                    CountEntriesRequest, CountEntriesResponse, EntryFilter, GetEntryRequest,
                    ListEntriesRequest, ListEntriesResponse, batch_create_entry_response as create,
                    batch_delete_entry_response as delete, batch_update_entry_response as update,
                },
            },
            types::{
                Agent, Bundle, Entry, JoinToken, Selector, SelectorMatch, Spiffeid, Status,
                selector_match::MatchBehavior,
            },
        },
        selector::selector_set,
    },
};
use parking_lot::Mutex;
use prost::Message;
use std::{path::Path, sync::Arc};
use tonic::Code;
use tonic_health::pb::{HealthCheckResponse, health_check_response::ServingStatus};

/// When it is: within the life of what was recorded.
const NOW: i64 = 1_795_366_673;

const MOST_IN_A_BATCH: usize = 500;

#[derive(Default)]
pub(crate) struct FakeServer {
    entries: Vec<Entry>,
    agents: Vec<Agent>,
}

impl FakeServer {
    /// A server after the attestation of one agent, and the two aliases of recorded join tokens.
    pub(crate) fn with_an_agent() -> Self {
        let id = |token| spiffe_id(&format!("/spire/agent/join_token/{token}"));
        let tokens =
            ["0ad23808-422d-49f5-80e5-987566d8b516", "9a75bcca-76e1-4684-8625-5b3276909f0f"];
        let aliases = tokens.map(|token| Entry {
            id: uuid::Uuid::new_v4().to_string(),
            spiffe_id: Some(spiffe_id("/node")),
            parent_id: Some(id(token)),
            selectors: vec![Selector {
                r#type: "spiffe_id".to_owned(),
                value: format!("spiffe://example.org{}", id(token).path),
            }],
            ..Entry::default()
        });
        let agent = Agent {
            id: Some(id(tokens[1])),
            attestation_type: "join_token".to_owned(),
            x509svid_serial_number: "125152732557195857161749503414425209194".to_owned(),
            x509svid_expires_at: NOW + 3_600,
            agent_version: "1.16.0-dev-unk".to_owned(),
            ..Agent::default()
        };
        Self { entries: aliases.to_vec(), agents: vec![agent] }
    }

    pub(crate) fn with_entries(entries: Vec<Entry>) -> Self {
        Self { entries, agents: Vec::new() }
    }

    pub(crate) fn serve(self, path: &Path, tasks: &TaskSet) {
        let bundle = TestCa::new("example.org", Clock::system().now()).bundle(1, &[]);
        let (bundle, server) = (Bundle::from(&bundle), Mutex::new(self));
        let answer =
            move |method: &str, request: Bytes| server.lock().answer(method, request, &bundle);
        answers::serve(path, tasks, Arc::new(answer));
    }

    fn answer(&mut self, method: &str, request: Bytes, bundle: &Bundle) -> Answer {
        match method {
            "grpc.health.v1.Health/Check" => {
                Answer::of(&HealthCheckResponse { status: ServingStatus::Serving.into() })
            }
            "spire.api.server.bundle.v1.Bundle/GetBundle" => Answer::of(bundle),
            "spire.api.server.bundle.v1.Bundle/CountBundles" => {
                Answer::of(&CountBundlesResponse { count: 1 })
            }
            _ => match method.split_once('/') {
                Some(("spire.api.server.entry.v1.Entry", call)) => self.entry_call(call, request),
                Some(("spire.api.server.agent.v1.Agent", call)) => self.agent_call(call, request),
                _ => Answer::refusal(Code::Unimplemented, "unknown service"),
            },
        }
    }

    fn entry_call(&mut self, call: &str, request: Bytes) -> Answer {
        match call {
            "BatchCreateEntry" => {
                let entries = decode::<BatchCreateEntryRequest>(request).entries;
                if entries.len() > MOST_IN_A_BATCH {
                    return Answer::refusal(Code::ResourceExhausted, "too many entries");
                }
                let results = entries.into_iter().map(|entry| {
                    let (entry, status) = split(self.create(entry));
                    create::Result { status: Some(status), entry }
                });
                Answer::of(&BatchCreateEntryResponse { results: results.collect() })
            }
            "BatchUpdateEntry" => {
                let entries = decode::<BatchUpdateEntryRequest>(request).entries;
                let results = entries.into_iter().map(|entry| {
                    let (entry, status) = split(self.update(entry));
                    update::Result { status: Some(status), entry }
                });
                Answer::of(&BatchUpdateEntryResponse { results: results.collect() })
            }
            "BatchDeleteEntry" => {
                let ids = decode::<BatchDeleteEntryRequest>(request).ids;
                let results = ids.into_iter().map(|id| {
                    let removed = self.entries.extract_if(.., |entry| entry.id == id).next();
                    let found = removed.ok_or_else(|| status(Code::NotFound, "entry not found"));
                    delete::Result { status: Some(split(found).1), id }
                });
                Answer::of(&BatchDeleteEntryResponse { results: results.collect() })
            }
            "GetEntry" => {
                let id = decode::<GetEntryRequest>(request).id;
                let found = self.entries.iter().find(|entry| entry.id == id);
                found.map_or_else(|| Answer::refusal(Code::NotFound, "entry not found"), Answer::of)
            }
            "ListEntries" => Answer::of(&self.page(decode(request))),
            "CountEntries" => {
                let filter = decode::<CountEntriesRequest>(request).filter.unwrap_or_default();
                let count = self.entries.iter().filter(|entry| passes(entry, &filter)).count();
                Answer::of(&CountEntriesResponse { count: i32::try_from(count).unwrap() })
            }
            _ => Answer::refusal(Code::Unimplemented, "unknown method"),
        }
    }

    /// The token of a page is where it begins.
    fn page(&self, request: ListEntriesRequest) -> ListEntriesResponse {
        let filter = request.filter.unwrap_or_default();
        let start: usize = request.page_token.parse().unwrap_or_default();
        let size = usize::try_from(request.page_size).unwrap();
        let mut found = self.entries.iter().filter(|entry| passes(entry, &filter)).skip(start);
        let entries: Vec<Entry> = found.by_ref().take(size).cloned().collect();
        let next = found.next().map(|_| (start + size).to_string());
        ListEntriesResponse { entries, next_page_token: next.unwrap_or_default() }
    }

    fn create(&mut self, mut entry: Entry) -> Result<Entry, Status> {
        refuse(&entry)?;
        let same = |other: &Entry| {
            (&other.spiffe_id, &other.parent_id) == (&entry.spiffe_id, &entry.parent_id)
                && set(&other.selectors) == set(&entry.selectors)
        };
        if self.entries.iter().any(same) {
            return Err(status(Code::AlreadyExists, "similar entry already exists"));
        }
        if entry.id.is_empty() {
            entry.id = uuid::Uuid::new_v4().to_string();
        }
        entry.created_at = NOW;
        // SPIRE's database gives selectors back in order.
        entry.selectors.sort_by(|a, b| (&a.r#type, &a.value).cmp(&(&b.r#type, &b.value)));
        self.entries.push(entry.clone());
        Ok(entry)
    }

    fn update(&mut self, entry: Entry) -> Result<Entry, Status> {
        let found = self.entries.iter_mut().find(|found| found.id == entry.id);
        let found = found.ok_or_else(|| status(Code::NotFound, "failed to update entry"))?;
        let (revision_number, created_at) = (found.revision_number + 1, found.created_at);
        *found = Entry { revision_number, created_at, ..entry };
        Ok(found.clone())
    }

    fn agent_call(&mut self, call: &str, request: Bytes) -> Answer {
        let missing = || Answer::refusal(Code::NotFound, "agent not found");
        match call {
            "ListAgents" => {
                let agents = self.agents.clone();
                Answer::of(&ListAgentsResponse { agents, next_page_token: String::new() })
            }
            "CountAgents" => {
                let count = i32::try_from(self.agents.len()).unwrap();
                Answer::of(&CountAgentsResponse { count })
            }
            "GetAgent" => {
                let id = decode::<GetAgentRequest>(request).id;
                self.agents.iter().find(|agent| agent.id == id).map_or_else(missing, Answer::of)
            }
            "BanAgent" => {
                let id = decode::<BanAgentRequest>(request).id;
                let found = self.agents.iter_mut().find(|agent| agent.id == id);
                found.map_or_else(missing, |agent| {
                    agent.banned = true;
                    Answer::of(&())
                })
            }
            "DeleteAgent" => {
                let id = decode::<DeleteAgentRequest>(request).id;
                let removed = self.agents.extract_if(.., |agent| agent.id == id).next();
                removed.map_or_else(missing, |_| Answer::of(&()))
            }
            "CreateJoinToken" if decode::<CreateJoinTokenRequest>(request).ttl < 1 => {
                Answer::refusal(Code::InvalidArgument, "ttl is required, you must provide one")
            }
            "CreateJoinToken" => {
                let value = uuid::Uuid::new_v4().to_string();
                Answer::of(&JoinToken { value, expires_at: NOW + 600 })
            }
            _ => Answer::refusal(Code::Unimplemented, "unknown method"),
        }
    }
}

fn decode<M: Message + Default>(request: Bytes) -> M {
    M::decode(request).unwrap()
}

fn spiffe_id(path: &str) -> Spiffeid {
    Spiffeid { trust_domain: "example.org".to_owned(), path: path.to_owned() }
}

fn status(code: Code, message: &str) -> Status {
    Status { code: code.into(), message: message.to_owned() }
}

fn split(result: Result<Entry, Status>) -> (Option<Entry>, Status) {
    match result {
        Ok(entry) => (Some(entry), status(Code::Ok, "OK")),
        Err(status) => (None, status),
    }
}

fn refuse(entry: &Entry) -> Result<(), Status> {
    let conversion =
        |what: String| status(Code::InvalidArgument, &format!("failed to convert entry: {what}"));
    let storage = |what: &str| {
        let frame = "failed to create entry: datastore-validation: invalid registration entry";
        status(Code::InvalidArgument, &format!("{frame}: {what}"))
    };
    let id = entry.spiffe_id.clone().unwrap_or_default();
    let shown = format!("\"spiffe://{}{}\"", id.trust_domain, id.path);
    if id.trust_domain != "example.org" {
        let why = format!("{shown} is not a member of trust domain \"example.org\"");
        return Err(conversion(format!("invalid spiffe ID: {why}")));
    }
    if id.path.starts_with("/spire/") {
        return Err(conversion(format!(
            "invalid spiffe ID: {shown} is not a workload in trust domain \"example.org\"; \
             path is in the reserved namespace"
        )));
    }
    if entry.id.contains(' ') {
        return Err(storage("entry ID contains invalid characters"));
    }
    if entry.store_svid && entry.selectors.iter().any(|s| s.r#type != entry.selectors[0].r#type) {
        return Err(storage("selector types must be the same when store SVID is enabled"));
    }
    if let Some(trust_domain) = entry.federates_with.first() {
        let why = format!("unable to find federated bundle \"spiffe://{trust_domain}\"");
        return Err(status(Code::Internal, &format!("failed to create entry: {why}")));
    }
    entry::spec(entry).map(|_| ()).map_err(|error| conversion(error.to_string()))
}

fn set(selectors: &[Selector]) -> SelectorSet {
    selector_set(selectors).unwrap()
}

fn passes(entry: &Entry, filter: &EntryFilter) -> bool {
    (filter.by_spiffe_id.is_none() || filter.by_spiffe_id == entry.spiffe_id)
        && (filter.by_parent_id.is_none() || filter.by_parent_id == entry.parent_id)
        && filter.by_hint.as_ref().is_none_or(|hint| *hint == entry.hint)
        && filter.by_downstream.is_none_or(|downstream| downstream == entry.downstream)
        && filter.by_selectors.as_ref().is_none_or(|selectors| has(entry, selectors))
}

fn has(entry: &Entry, wanted: &SelectorMatch) -> bool {
    let superset = || wanted.selectors.iter().all(|s| entry.selectors.contains(s));
    let subset = || entry.selectors.iter().all(|s| wanted.selectors.contains(s));
    match wanted.r#match() {
        MatchBehavior::MatchExact => superset() && subset(),
        MatchBehavior::MatchSuperset => superset(),
        MatchBehavior::MatchSubset => subset(),
        MatchBehavior::MatchAny => wanted.selectors.iter().any(|s| entry.selectors.contains(s)),
    }
}
