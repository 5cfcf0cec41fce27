//! Batches of entries: sent in parts that fit into one message, failures reported with their entry.
//! Creating and updating answer in messages of one shape; here both are the one of creating.

use super::block::block;
use crate::{
    cli::{Failure, console, go::quote::quoted, json, output::Output, rpc::code_name},
    wire::proto::spire::api::{
        server::entry::v1::BatchCreateEntryResponse,
        types::{Entry, Status},
    },
};

/// How many entries go into one request: with every attribute set they stay below gRPC's 4 MiB.
pub(super) const PART: usize = 500;

/// Some items of a batch were not accepted. The texts are SPIRE's.
#[derive(Debug, thiserror::Error)]
#[error("failed to {verb} one or more entries")]
pub(super) struct SomeFailed {
    /// What was to be done with them.
    pub(super) verb: &'static str,
}

/// Whether the server did it.
pub(super) fn is_done(status: Option<&Status>) -> bool {
    status.is_none_or(|status| status.code == 0)
}

/// `(code: AlreadyExists, msg: "similar entry already exists")`.
pub(super) fn reason(status: Option<&Status>) -> String {
    let (code, message) = status.map_or((0, ""), |status| (status.code, status.message.as_str()));
    format!("(code: {}, msg: {})", code_name(code), quoted(message))
}

/// Shows what became of the entries that were `sent` and ends the command. What was written before a
/// later part failed is shown like any other.
///
/// # Errors
/// The failed call, [`SomeFailed`], or when stdout cannot be written.
pub(super) fn finish<E>(
    verb: &'static str,
    called: Result<(), E>,
    mut answer: BatchCreateEntryResponse,
    sent: &[Entry],
    output: Output,
) -> Result<(), Failure>
where
    E: std::error::Error + Send + Sync + 'static,
{
    for (item, sent) in answer.results.iter_mut().zip(sent) {
        // The server does not answer with what it refused.
        if !is_done(item.status.as_ref()) || item.entry.is_none() {
            item.entry = Some(sent.clone());
        }
    }
    let Err(error) = called else { return show(verb, &answer, output) };
    if !answer.results.is_empty() {
        // That the call failed says more than that an item did.
        let _shown = show(verb, &answer, output);
    }
    Err(error.into())
}

fn show(
    verb: &'static str,
    answer: &BatchCreateEntryResponse,
    output: Output,
) -> Result<(), Failure> {
    let items = || {
        answer.results.iter().filter_map(|item| Some((item.status.as_ref(), item.entry.as_ref()?)))
    };
    let done = || items().filter(|(status, _)| is_done(*status));
    let has_failed = done().count() < answer.results.len();
    if output.is_json() {
        console::print(&json::line(answer)?)?;
        return if has_failed { Err(Failure::Told) } else { Ok(()) };
    }
    console::print(&done().map(|(_, entry)| block(entry)).collect::<String>())?;
    for (status, entry) in items().filter(|(status, _)| !is_done(*status)) {
        let reason = reason(status);
        console::tell(&format!("Failed to {verb} the following entry {reason}:\n{}", block(entry)));
    }
    if has_failed { Err(SomeFailed { verb }.into()) } else { Ok(()) }
}
