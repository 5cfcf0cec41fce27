//! Entries and nodes as rows of the database, both ways.

use super::node::Node;
use crate::spiffe::{
    Entry, EntryId, EntrySpec, Selector, SelectorSet, SpiffeId, TrustDomain,
    dns::{self, DnsName},
    entry::{self, Hint},
    id, selector,
};
use rusqlite::{CachedStatement, Row, params, types::FromSqlError};
use std::collections::HashMap;

/// A row that another tool, or a fault, has filled with what cannot be.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Column(#[from] FromSqlError),
    #[error("invalid SPIFFE ID or trust domain: {0}")]
    Id(#[from] id::Error),
    #[error("invalid selector: {0}")]
    Selector(#[from] selector::Error),
    #[error("invalid DNS name: {0}")]
    DnsName(#[from] dns::Error),
    #[error("invalid entry: {0}")]
    Entry(#[from] entry::Error),
    #[error("not a JSON array of strings: {0}")]
    List(#[from] serde_json::Error),
}

/// Every entry, with the columns in the order of [`RowReader::entry`].
pub(super) const SELECT_ENTRIES: &str = "SELECT row, id, revision, created_at, spiffe_id, parent_id, \
    selectors, x509_svid_ttl, jwt_svid_ttl, federates_with, admin, downstream, expires_at, dns_names, \
    store_svid, hint, disable_x509_svid_prefetch, jwt_svid_include_jti FROM entries ORDER BY row";

/// Writes an entry with [`put_entry`]; a row of NULL makes a new one.
pub(super) const PUT_ENTRY: &str = "INSERT OR REPLACE INTO entries VALUES \
    (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)";

/// Every node, with the columns in the order of [`RowReader::node`].
pub(super) const SELECT_NODES: &str = "SELECT row, id, attestation_type, serial, new_serial, \
    expires_at, new_expires_at, banned, can_reattest, selectors, agent_version FROM nodes ORDER BY row";

/// Writes a node with [`put_node`]; a row of NULL makes a new one.
pub(super) const PUT_NODE: &str =
    "INSERT OR REPLACE INTO nodes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

/// Reads rows. Identifiers and selectors that repeat share their memory.
#[derive(Default)]
pub(super) struct RowReader {
    ids: HashMap<Box<str>, SpiffeId>,
    selectors: HashMap<Box<str>, Selector>,
}

impl RowReader {
    pub(super) fn entry(&mut self, row: &Row<'_>) -> Result<(i64, Entry), RowError> {
        let spec = EntrySpec {
            spiffe_id: self.id(text(row, 4)?)?,
            parent_id: self.id(text(row, 5)?)?,
            selectors: self.selectors(row, 6)?,
            x509_svid_ttl_secs: row.get(7)?,
            jwt_svid_ttl_secs: row.get(8)?,
            federates_with: list(row, 9, TrustDomain::parse)?,
            admin: row.get(10)?,
            downstream: row.get(11)?,
            expires_at: row.get(12)?,
            dns_names: list(row, 13, DnsName::parse)?,
            store_svid: row.get(14)?,
            hint: Hint::parse(row.get_ref(15)?.as_str_or_null()?.unwrap_or_default())?,
            disable_x509_svid_prefetch: row.get(16)?,
            jwt_svid_include_jti: row.get(17)?,
        };
        spec.check()?;
        let id = EntryId::parse(text(row, 1)?)?;
        let entry = Entry { id, revision: row.get(2)?, created_at: row.get(3)?, spec };
        Ok((row.get(0)?, entry))
    }

    pub(super) fn node(&mut self, row: &Row<'_>) -> Result<(i64, Node), RowError> {
        let node = Node {
            id: self.id(text(row, 1)?)?,
            attestation_type: row.get(2)?,
            serial: row.get(3)?,
            new_serial: row.get(4)?,
            expires_at: row.get(5)?,
            new_expires_at: row.get(6)?,
            banned: row.get(7)?,
            can_reattest: row.get(8)?,
            selectors: self.selectors(row, 9)?,
            agent_version: row.get(10)?,
        };
        Ok((row.get(0)?, node))
    }

    fn id(&mut self, text: &str) -> Result<SpiffeId, RowError> {
        if let Some(known) = self.ids.get(text) {
            return Ok(known.clone());
        }
        let id = SpiffeId::parse(text)?;
        self.ids.insert(text.into(), id.clone());
        Ok(id)
    }

    fn selectors(&mut self, row: &Row<'_>, column: usize) -> Result<SelectorSet, RowError> {
        strings(row, column)?.into_iter().map(|text| self.selector(&text)).collect()
    }

    fn selector(&mut self, text: &str) -> Result<Selector, RowError> {
        if let Some(known) = self.selectors.get(text) {
            return Ok(known.clone());
        }
        let selector = Selector::parse(text)?;
        self.selectors.insert(text.into(), selector.clone());
        Ok(selector)
    }
}

/// Runs [`PUT_ENTRY`].
pub(super) fn put_entry(
    statement: &mut CachedStatement<'_>,
    row: Option<i64>,
    entry: &Entry,
) -> rusqlite::Result<usize> {
    let spec = &entry.spec;
    statement.execute(params![
        row,
        entry.id.as_str(),
        entry.revision,
        entry.created_at,
        spec.spiffe_id.as_str(),
        spec.parent_id.as_str(),
        json(spec.selectors.as_slice().iter().map(Selector::as_str)),
        spec.x509_svid_ttl_secs,
        spec.jwt_svid_ttl_secs,
        json(spec.federates_with.iter().map(TrustDomain::name)),
        spec.admin,
        spec.downstream,
        spec.expires_at,
        json(spec.dns_names.iter().map(DnsName::as_str)),
        spec.store_svid,
        Some(spec.hint.as_str()).filter(|hint| !hint.is_empty()),
        spec.disable_x509_svid_prefetch,
        spec.jwt_svid_include_jti,
    ])
}

/// Runs [`PUT_NODE`].
pub(super) fn put_node(
    statement: &mut CachedStatement<'_>,
    row: Option<i64>,
    node: &Node,
) -> rusqlite::Result<usize> {
    statement.execute(params![
        row,
        node.id.as_str(),
        node.attestation_type,
        node.serial,
        node.new_serial,
        node.expires_at,
        node.new_expires_at,
        node.banned,
        node.can_reattest,
        json(node.selectors.as_slice().iter().map(Selector::as_str)),
        node.agent_version,
    ])
}

fn text<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a str, RowError> {
    Ok(row.get_ref(column)?.as_str()?)
}

fn strings(row: &Row<'_>, column: usize) -> Result<Vec<String>, RowError> {
    let Some(json) = row.get_ref(column)?.as_str_or_null()? else { return Ok(Vec::new()) };
    Ok(serde_json::from_str(json)?)
}

fn list<T, E>(
    row: &Row<'_>,
    column: usize,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, RowError>
where
    RowError: From<E>,
{
    let strings = strings(row, column)?;
    Ok(strings.iter().map(|text| parse(text)).collect::<Result<_, E>>()?)
}

/// A JSON array; nothing for an empty list.
fn json<'a>(strings: impl Iterator<Item = &'a str>) -> Option<String> {
    let strings: Vec<_> = strings.map(serde_json::Value::from).collect();
    (!strings.is_empty()).then(|| serde_json::Value::from(strings).to_string())
}
