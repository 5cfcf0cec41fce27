//! Entries in a JSON file, in the form that SPIRE's `-data` takes: the names of its internal message,
//! in any case, with the odd `entryExpiry` among them.

use crate::{
    cli::{console, go::quote::quoted, input},
    spiffe::{SpiffeId, TrustDomain, id},
    wire::proto::spire::api::types::{Entry, Selector, Spiffeid, entry::AdditionalAttributes},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// A file that holds no entries.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Not readable or not JSON.
    #[error(transparent)]
    Input(#[from] input::Error),
    /// JSON of another kind.
    #[error("expected an object {{\"entries\": [...]}}, found {0}")]
    Root(&'static str),
    /// An entry whose fields have the wrong type.
    #[error("entry number {number}: {source}")]
    Shape {
        /// Counted from 1.
        number: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// An ID that is none.
    #[error("entry number {number}: invalid {field}: {source}")]
    Id {
        /// Counted from 1.
        number: usize,
        /// What it should be.
        field: &'static str,
        /// The rule that it breaks.
        source: id::Error,
    },
}

/// One entry. Keys are compared in lower case, as Go does; what is absent is zero.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Written {
    selectors: Vec<WrittenSelector>,
    parent_id: String,
    spiffe_id: String,
    x509_svid_ttl: i32,
    jwt_svid_ttl: i32,
    federates_with: Vec<String>,
    entry_id: String,
    admin: bool,
    downstream: bool,
    #[serde(rename = "entryexpiry")]
    entry_expiry: i64,
    dns_names: Vec<String>,
    store_svid: bool,
    hint: String,
    additional_attributes: Option<WrittenAttributes>,
    /// Written by the server; accepted, as in SPIRE, and not sent.
    #[serde(rename = "revision_number")]
    _revision_number: Value,
    /// As above.
    #[serde(rename = "created_at")]
    _created_at: Value,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WrittenSelector {
    r#type: String,
    value: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WrittenAttributes {
    disable_x509_svid_prefetch: bool,
    jwt_svid_include_jti: bool,
}

/// Reads the entries of a file, or of standard input for `-`.
///
/// # Errors
/// When it is not such a file, with the first entry that is wrong.
pub(super) fn entries(path: &str) -> Result<Vec<Entry>, Error> {
    let (entries, unknown) = from_json(input::json(path)?)?;
    for key in unknown {
        // SPIRE ignores it without a word, and a misspelled federates_with with it.
        console::tell(&format!("warning: unknown field {} is ignored\n", quoted(&key)));
    }
    Ok(entries)
}

/// The entries, and the keys that no entry has.
fn from_json(mut file: Value) -> Result<(Vec<Entry>, BTreeSet<String>), Error> {
    fold_keys(&mut file);
    let Value::Object(mut file) = file else { return Err(Error::Root(kind(&file))) };
    let entries = match file.remove("entries") {
        Some(Value::Array(entries)) => entries,
        None => return Err(Error::Root("an object without entries")),
        Some(other) => return Err(Error::Root(kind(&other))),
    };
    let mut unknown = BTreeSet::new();
    let mut read = Vec::with_capacity(entries.len());
    for (index, value) in entries.into_iter().enumerate() {
        let number = index + 1;
        let mut written: Written =
            serde_json::from_value(value).map_err(|source| Error::Shape { number, source })?;
        unknown.extend(std::mem::take(&mut written.unknown).into_iter().map(|(key, _)| key));
        read.push(entry(number, written)?);
    }
    Ok((read, unknown))
}

fn entry(number: usize, written: Written) -> Result<Entry, Error> {
    let invalid = |field| move |source| Error::Id { number, field, source };
    let spiffe_id = SpiffeId::parse(&written.spiffe_id).map_err(invalid("SPIFFE ID"))?;
    let parent_id = SpiffeId::parse(&written.parent_id).map_err(invalid("parent ID"))?;
    let federates_with = written.federates_with.iter().map(|name| {
        let trust_domain = TrustDomain::parse_name_or_id(name);
        trust_domain.map(|known| known.name().to_owned()).map_err(invalid("federated trust domain"))
    });
    let selectors = written.selectors.into_iter();
    Ok(Entry {
        id: written.entry_id,
        spiffe_id: Some(Spiffeid::from(&spiffe_id)),
        parent_id: Some(Spiffeid::from(&parent_id)),
        selectors: selectors.map(|s| Selector { r#type: s.r#type, value: s.value }).collect(),
        x509_svid_ttl: written.x509_svid_ttl,
        jwt_svid_ttl: written.jwt_svid_ttl,
        federates_with: federates_with.collect::<Result<_, _>>()?,
        admin: written.admin,
        downstream: written.downstream,
        expires_at: written.entry_expiry,
        dns_names: written.dns_names,
        store_svid: written.store_svid,
        hint: written.hint,
        additional_attributes: written.additional_attributes.map(|attributes| {
            AdditionalAttributes {
                disable_x509_svid_prefetch: attributes.disable_x509_svid_prefetch,
                jwt_svid_include_jti: attributes.jwt_svid_include_jti,
            }
        }),
        ..Entry::default()
    })
}

/// Go's decoder takes keys in any case and reads null as if the key were absent.
fn fold_keys(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let folded = std::mem::take(fields).into_iter().filter(|(_, field)| !field.is_null());
            *fields = folded.map(|(key, field)| (key.to_ascii_lowercase(), field)).collect();
            fields.values_mut().for_each(fold_keys);
        }
        Value::Array(items) => items.iter_mut().for_each(fold_keys),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_field_of_a_file_reaches_the_entry() {
        let (read, unknown) = from_json(json!({"Entries": [{
            "selectors": [{"Type": "unix", "value": "uid:1"}],
            "spiffe_id": "spiffe://td/w", "PARENT_ID": "spiffe://td/n",
            "x509_svid_ttl": 60, "jwt_svid_ttl": 30, "federates_with": ["spiffe://other.org"],
            "entry_id": "e", "admin": true, "downstream": true, "entryExpiry": 7,
            "dns_names": ["a"], "store_svid": true, "hint": "h", "created_at": 9, "revision_number": 4, "Colour": 1,
            "additional_attributes": {"jwt_svid_include_jti": true}
        }]}))
        .unwrap();
        let id = |path: &str| Some(Spiffeid { trust_domain: "td".into(), path: path.into() });
        let attributes =
            AdditionalAttributes { disable_x509_svid_prefetch: false, jwt_svid_include_jti: true };
        let expected = Entry {
            id: "e".into(),
            spiffe_id: id("/w"),
            parent_id: id("/n"),
            selectors: vec![Selector { r#type: "unix".into(), value: "uid:1".into() }],
            x509_svid_ttl: 60,
            jwt_svid_ttl: 30,
            federates_with: vec!["other.org".into()],
            admin: true,
            downstream: true,
            expires_at: 7,
            dns_names: vec!["a".into()],
            store_svid: true,
            hint: "h".into(),
            additional_attributes: Some(attributes),
            ..Entry::default()
        };
        assert_eq!(read, [expected]);
        assert_eq!(unknown, BTreeSet::from(["colour".to_owned()]), "and what is none is named");
    }

    #[test]
    fn what_is_no_list_of_entries_is_refused_with_its_place() {
        for (file, expected) in [
            (json!([]), "expected an object {\"entries\": [...]}, found a list"),
            (json!({}), "expected an object {\"entries\": [...]}, found an object without entries"),
            (json!({"entries": {}}), "expected an object {\"entries\": [...]}, found an object"),
            (
                json!({"entries": [{"spiffe_id": "spiffe://td/w", "parent_id": "x"}]}),
                "entry number 1: invalid parent ID: scheme is missing or invalid",
            ),
            (
                json!({"entries": [{"x509_svid_ttl": "60"}]}),
                "entry number 1: invalid type: string \"60\", expected i32",
            ),
        ] {
            assert_eq!(from_json(file).err().unwrap().to_string(), expected);
        }
    }
}
