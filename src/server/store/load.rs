//! Reads the whole database into memory when the server starts.
//!
//! A broken row of an entry or node is skipped and reported: it concerns one workload or agent. A broken
//! bundle is fatal: starting without it would take the trust in every SVID away.

use super::{
    error::StoreError,
    rows::{RowError, RowReader, SELECT_ENTRIES, SELECT_NODES},
    tables::Tables,
};
use crate::{
    spiffe::{
        Bundle, TrustDomain,
        bundle::{JwtAuthority, X509Authority},
    },
    x509::Certificate,
};
use rusqlite::{Connection, OptionalExtension, Row};
use std::sync::Arc;

/// Everything that is in the database.
pub(super) fn load(connection: &Connection) -> Result<Tables, StoreError> {
    let mut tables = Tables::new();
    let mut reader = RowReader::default();
    each_row(connection, SELECT_ENTRIES, "entries", |row| {
        let (number, entry) = reader.entry(row)?;
        tables.put_entry(number, Arc::new(entry));
        Ok(())
    })?;
    each_row(connection, SELECT_NODES, "nodes", |row| {
        let (number, node) = reader.node(row)?;
        tables.nodes.put(number, Arc::new(node));
        Ok(())
    })?;
    load_bundles(connection, &mut tables)?;
    tables.journal = connection
        .query_row("SELECT journal FROM ca_journal", [], |row| row.get::<_, Vec<u8>>(0))
        .optional()?
        .map(Into::into);
    Ok(tables)
}

fn each_row(
    connection: &Connection,
    sql: &str,
    table: &'static str,
    mut read: impl FnMut(&Row<'_>) -> Result<(), RowError>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Err(error) = read(row) {
            let number: i64 = row.get(0).unwrap_or_default();
            tracing::error!(table, row = number, %error, "datastore row is broken and is ignored");
        }
    }
    Ok(())
}

fn load_bundles(connection: &Connection, tables: &mut Tables) -> Result<(), StoreError> {
    let mut statement =
        connection.prepare("SELECT trust_domain, sequence, refresh_hint FROM bundles")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let Ok(trust_domain) = TrustDomain::parse(&name) else {
            tracing::error!(trust_domain = name, "bundle of an invalid trust domain is ignored");
            continue;
        };
        let bundle = Bundle::new(
            trust_domain.clone(),
            x509_authorities(connection, &trust_domain)?,
            jwt_authorities(connection, &trust_domain)?,
            u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default(),
            row.get(2)?,
        );
        tables.bundles.insert(trust_domain, Arc::new(bundle));
    }
    Ok(())
}

fn x509_authorities(
    connection: &Connection,
    trust_domain: &TrustDomain,
) -> Result<Vec<X509Authority>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT certificate, tainted FROM x509_authorities WHERE trust_domain = ? ORDER BY row",
    )?;
    let mut rows = statement.query([trust_domain.name()])?;
    let mut authorities = Vec::new();
    while let Some(row) = rows.next()? {
        let certificate =
            Certificate::parse(row.get::<_, Vec<u8>>(0)?.into()).map_err(|error| {
                let trust_domain = trust_domain.clone();
                StoreError::DamagedBundle { trust_domain, detail: error.to_string() }
            })?;
        authorities.push(X509Authority { certificate, tainted: row.get(1)? });
    }
    Ok(authorities)
}

fn jwt_authorities(
    connection: &Connection,
    trust_domain: &TrustDomain,
) -> Result<Vec<JwtAuthority>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT key_id, public_key, expires_at, tainted FROM jwt_authorities \
         WHERE trust_domain = ? ORDER BY row",
    )?;
    let authorities = statement.query_map([trust_domain.name()], |row| {
        Ok(JwtAuthority {
            key_id: row.get(0)?,
            public_key_der: row.get::<_, Vec<u8>>(1)?.into(),
            expires_at: row.get(2)?,
            tainted: row.get(3)?,
        })
    })?;
    Ok(authorities.collect::<Result<_, _>>()?)
}
