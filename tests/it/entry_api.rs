//! The entry service as its clients meet it: through gRPC.

mod bad_input;
mod listing;
mod registration;
mod sync;

use finial::{
    runtime::{Clock, TaskSet, clock::from_unix_secs},
    server::{
        api::entry::EntryService,
        authorized::Authorized,
        caller::{Caller, Member},
        registration::Registration,
        store::{Created, NewEntry, Store, StoreConfig},
    },
    spiffe::{EntryId, EntrySpec, Selector, SpiffeId, TrustDomain, entry::Hint},
    wire::proto::spire::api::{
        server::entry::v1::{entry_client::EntryClient, entry_server::EntryServer},
        types,
    },
    x509::cert::Serial,
};
use std::{io, net::Ipv4Addr};
use tonic::{
    Request,
    transport::{Channel, Endpoint, Server, Uri},
};

/// A server of `example.org` and a client that is its agent.
struct Api {
    client: EntryClient<Channel>,
    store: Store,
    _tasks: TaskSet,
}

const AGENT: &str = "/spire/agent/join_token/t";

impl Api {
    async fn new() -> Self {
        Self::over(Store::open(&StoreConfig::Memory, clock()).unwrap()).await
    }

    async fn over(store: Store) -> Self {
        let domain = TrustDomain::parse("example.org").unwrap();
        let authorized = Authorized::new(store.clone(), &domain, clock());
        let registration = Registration::new(store.clone(), authorized.clone(), domain);
        let service = EntryService::new(registration, authorized);
        let caller = Caller::Member(Member {
            id: id(AGENT),
            serial: Serial::from_bytes(&[1]),
            not_after: from_unix_secs(9_000),
            ip: Ipv4Addr::LOCALHOST.into(),
        });
        let identify = move |mut request: Request<()>| {
            request.extensions_mut().insert(caller.clone());
            Ok(request)
        };
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let tasks = TaskSet::new();
        tasks.spawn("server", async move {
            let incoming = futures_util::stream::iter([Ok::<_, io::Error>(theirs)]);
            let service = EntryServer::with_interceptor(service, identify);
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        let mut ours = Some(hyper_util::rt::TokioIo::new(ours));
        let connect = tower::service_fn(move |_: Uri| {
            let connection = ours.take().ok_or_else(|| io::Error::other("connected before"));
            async move { connection }
        });
        let channel =
            Endpoint::from_static("http://server").connect_with_connector(connect).await.unwrap();
        let client = EntryClient::new(channel).max_decoding_message_size(usize::MAX);
        Self { client, store, _tasks: tasks }
    }

    /// Fills the store with `count` entries of the agent, named `e000000` and so on.
    async fn with_entries(count: usize) -> Self {
        let api = Self::new().await;
        let news = (0..count).map(|number| NewEntry {
            id: Some(EntryId::parse(&format!("e{number:06}")).unwrap()),
            spec: spec(&format!("/w/{number}")),
        });
        let created = api.store.create_entries(news.collect()).await.unwrap();
        assert!(created.iter().all(|created| matches!(created, Ok(Created::New(_)))));
        api
    }
}

fn clock() -> Clock {
    Clock::anchored_at(from_unix_secs(1_000))
}

fn id(path: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://example.org{path}")).unwrap()
}

/// The agent's entry of the workload `path`.
fn spec(path: &str) -> EntrySpec {
    EntrySpec {
        spiffe_id: id(path),
        parent_id: id(AGENT),
        selectors: [Selector::parse("unix:uid:1").unwrap()].into_iter().collect(),
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

/// The same as a client writes it.
fn wire(path: &str) -> types::Entry {
    (&spec(path)).into()
}
