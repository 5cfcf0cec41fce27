//! Creating, updating and deleting in batches: each item gets its own status, in the order of the
//! request, and none stops another.

use super::{read, write::masked};
use crate::{
    server::{
        registration::{Registration, RegistrationError},
        store::{Created, EntryError, NewEntry},
    },
    spiffe::EntryId,
    transport::status::{Kind, OK_MESSAGE},
    wire::proto::spire::api::{
        server::entry::v1::{
            BatchCreateEntryRequest, BatchCreateEntryResponse, BatchDeleteEntryRequest,
            BatchDeleteEntryResponse, BatchUpdateEntryRequest, BatchUpdateEntryResponse,
            batch_create_entry_response, batch_delete_entry_response, batch_update_entry_response,
        },
        types,
    },
};

/// Creates entries.
pub(super) async fn create(
    registration: &Registration,
    request: BatchCreateEntryRequest,
) -> BatchCreateEntryResponse {
    let (news, refused) = split(request.entries.iter().map(|wire| {
        let spec = read::spec(registration, wire).map_err(|error| unreadable(&error))?;
        let id = if wire.id.is_empty() { None } else { Some(wire.id.as_str()) };
        let id = id.map(EntryId::parse).transpose().map_err(|error| not_created(&error.into()))?;
        Ok(NewEntry { id, spec })
    }));
    let mask = request.output_mask.as_ref();
    let created = registration.create(news).await.into_iter().map(|result| match result {
        Ok(Created::New(entry)) => (ok(), Some(masked(&entry, mask))),
        Ok(Created::Similar(entry)) => {
            (status(Kind::Exists, "similar entry already exists"), Some(masked(&entry, mask)))
        }
        Err(RegistrationError::Entry(error)) => (not_created(&error), None),
        Err(error) => (unreadable(&error), None),
    });
    let results = join(refused, created, |status| (status, None))
        .map(|(status, entry)| batch_create_entry_response::Result { status: Some(status), entry });
    BatchCreateEntryResponse { results: results.collect() }
}

/// Updates entries.
pub(super) async fn update(
    registration: &Registration,
    request: BatchUpdateEntryRequest,
) -> BatchUpdateEntryResponse {
    let input_mask = request.input_mask.as_ref();
    let (patches, refused) = split(request.entries.iter().map(|wire| {
        let patch =
            read::patch(registration, wire, input_mask).map_err(|error| unreadable(&error))?;
        // No entry has an ID that does not parse.
        let id = EntryId::parse(&wire.id)
            .map_err(|_| status(Kind::NotFound, "failed to update entry"))?;
        Ok((id, patch))
    }));
    let mask = request.output_mask.as_ref();
    let updated = registration.update(patches).await.into_iter().map(|result| match result {
        Ok(entry) => (ok(), Some(masked(&entry, mask))),
        // SPIRE 1.15: NOT_FOUND never shows what is behind it.
        Err(RegistrationError::Entry(EntryError::Unknown(_))) => {
            (status(Kind::NotFound, "failed to update entry"), None)
        }
        Err(RegistrationError::Entry(error)) => {
            (status(error.kind(), format!("failed to update entry: {error}")), None)
        }
        Err(error) => (unreadable(&error), None),
    });
    let results = join(refused, updated, |status| (status, None))
        .map(|(status, entry)| batch_update_entry_response::Result { status: Some(status), entry });
    BatchUpdateEntryResponse { results: results.collect() }
}

/// Deletes entries.
pub(super) async fn delete(
    registration: &Registration,
    request: BatchDeleteEntryRequest,
) -> BatchDeleteEntryResponse {
    let (ids, refused) = split(request.ids.iter().map(|id| match id.as_str() {
        "" => Err(status(Kind::Invalid, "missing entry ID")),
        id => EntryId::parse(id).map_err(|_| status(Kind::NotFound, "entry not found")),
    }));
    let deleted = registration.delete(ids).await.into_iter().map(|result| match result {
        Ok(()) => ok(),
        Err(RegistrationError::Entry(EntryError::Unknown(_))) => {
            status(Kind::NotFound, "entry not found")
        }
        Err(error) => status(error.kind(), format!("failed to delete entry: {error}")),
    });
    let statuses = join(refused, deleted, |status| status);
    let results = request
        .ids
        .iter()
        .cloned()
        .zip(statuses)
        .map(|(id, status)| batch_delete_entry_response::Result { status: Some(status), id });
    BatchDeleteEntryResponse { results: results.collect() }
}

/// The items that could be read, and in the place of each item nothing or why it could not.
fn split<T>(
    items: impl Iterator<Item = Result<T, types::Status>>,
) -> (Vec<T>, Vec<Option<types::Status>>) {
    let (mut readable, mut refused) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Ok(item) => {
                readable.push(item);
                refused.push(None);
            }
            Err(status) => refused.push(Some(status)),
        }
    }
    (readable, refused)
}

/// The reverse of [`split`], when `done` holds one result for each readable item.
fn join<R>(
    refused: Vec<Option<types::Status>>,
    mut done: impl Iterator<Item = R>,
    refuse: impl Fn(types::Status) -> R,
) -> impl Iterator<Item = R> {
    refused.into_iter().filter_map(move |refused| match refused {
        Some(status) => Some(refuse(status)),
        None => done.next(),
    })
}

fn ok() -> types::Status {
    types::Status { code: 0, message: OK_MESSAGE.to_owned() }
}

fn status(kind: Kind, message: impl Into<String>) -> types::Status {
    types::Status { code: kind.number(), message: message.into() }
}

fn unreadable(error: &impl std::error::Error) -> types::Status {
    status(Kind::Invalid, format!("failed to convert entry: {error}"))
}

fn not_created(error: &EntryError) -> types::Status {
    status(error.kind(), format!("failed to create entry: {error}"))
}
