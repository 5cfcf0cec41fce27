//! `spire.api.server.entry.v1.Entry`: registration for administrators, and for agents the entries that
//! they may use. Who may call what is decided before a request gets here.

mod batch;
mod list;
mod read;
mod sync;
mod write;

use self::write::masked;
use crate::{
    server::{authorized::Authorized, caller::Caller, registration::Registration},
    spiffe::EntryId,
    transport::status::Kind,
    wire::proto::spire::api::{
        server::entry::v1::{
            BatchCreateEntryRequest, BatchCreateEntryResponse, BatchDeleteEntryRequest,
            BatchDeleteEntryResponse, BatchUpdateEntryRequest, BatchUpdateEntryResponse,
            CountEntriesRequest, CountEntriesResponse, GetAuthorizedEntriesRequest,
            GetAuthorizedEntriesResponse, GetEntryRequest, ListEntriesRequest, ListEntriesResponse,
            SyncAuthorizedEntriesRequest, SyncAuthorizedEntriesResponse, entry_server,
        },
        types,
    },
};
use futures_util::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

/// The service.
#[derive(Clone)]
pub struct EntryService {
    registration: Registration,
    authorized: Authorized,
}

impl EntryService {
    /// Serves what `registration` writes and what `authorized` grants.
    #[must_use]
    pub const fn new(registration: Registration, authorized: Authorized) -> Self {
        Self { registration, authorized }
    }
}

#[tonic::async_trait]
impl entry_server::Entry for EntryService {
    async fn count_entries(
        &self,
        request: Request<CountEntriesRequest>,
    ) -> Result<Response<CountEntriesResponse>, Status> {
        list::count(&self.registration, request.into_inner()).await.map(Response::new)
    }

    async fn list_entries(
        &self,
        request: Request<ListEntriesRequest>,
    ) -> Result<Response<ListEntriesResponse>, Status> {
        list::list(&self.registration, request.into_inner()).await.map(Response::new)
    }

    async fn get_entry(
        &self,
        request: Request<GetEntryRequest>,
    ) -> Result<Response<types::Entry>, Status> {
        let request = request.into_inner();
        if request.id.is_empty() {
            return Err(Kind::Invalid.status("missing ID"));
        }
        // No entry has an ID that does not parse.
        let id = EntryId::parse(&request.id).ok();
        let entry = id.and_then(|id| self.registration.store().entry(&id));
        let entry = entry.ok_or_else(|| Kind::NotFound.status("entry not found"))?;
        Ok(Response::new(masked(&entry, request.output_mask.as_ref())))
    }

    async fn batch_create_entry(
        &self,
        request: Request<BatchCreateEntryRequest>,
    ) -> Result<Response<BatchCreateEntryResponse>, Status> {
        Ok(Response::new(batch::create(&self.registration, request.into_inner()).await))
    }

    async fn batch_update_entry(
        &self,
        request: Request<BatchUpdateEntryRequest>,
    ) -> Result<Response<BatchUpdateEntryResponse>, Status> {
        Ok(Response::new(batch::update(&self.registration, request.into_inner()).await))
    }

    async fn batch_delete_entry(
        &self,
        request: Request<BatchDeleteEntryRequest>,
    ) -> Result<Response<BatchDeleteEntryResponse>, Status> {
        Ok(Response::new(batch::delete(&self.registration, request.into_inner()).await))
    }

    async fn get_authorized_entries(
        &self,
        request: Request<GetAuthorizedEntriesRequest>,
    ) -> Result<Response<GetAuthorizedEntriesResponse>, Status> {
        let entries = self.authorized.entries_for(Caller::agent_of(&request)?);
        let mask = request.into_inner().output_mask;
        let entries = entries.iter().map(|entry| masked(entry, mask.as_ref())).collect();
        Ok(Response::new(GetAuthorizedEntriesResponse { entries }))
    }

    type SyncAuthorizedEntriesStream =
        BoxStream<'static, Result<SyncAuthorizedEntriesResponse, Status>>;

    async fn sync_authorized_entries(
        &self,
        request: Request<Streaming<SyncAuthorizedEntriesRequest>>,
    ) -> Result<Response<Self::SyncAuthorizedEntriesStream>, Status> {
        let entries = self.authorized.entries_for(Caller::agent_of(&request)?);
        Ok(Response::new(sync::answers(request.into_inner(), entries)))
    }
}
