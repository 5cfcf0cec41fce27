//! The flags that choose entries, shared by `show` and `count`.

use crate::{
    cli::{
        flags::FlagSet,
        go::quote::quoted,
        server::{entry::attributes, matching},
    },
    spiffe::id,
    wire::proto::spire::api::{server::entry::v1::EntryFilter, types::Spiffeid},
};

/// Which entries.
#[derive(Debug)]
pub(super) struct Filter {
    parent_id: String,
    spiffe_id: String,
    downstream: bool,
    selectors: Vec<String>,
    federates_with: Vec<String>,
    match_selectors_on: String,
    match_federates_with_on: String,
    hint: String,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            parent_id: String::new(),
            spiffe_id: String::new(),
            downstream: false,
            selectors: Vec::new(),
            federates_with: Vec::new(),
            match_selectors_on: "superset".to_owned(),
            match_federates_with_on: "superset".to_owned(),
            hint: String::new(),
        }
    }
}

/// A filter that cannot be asked for. The texts are SPIRE's.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Not a SPIFFE ID.
    #[error("error parsing {field} {}: {source}", quoted(.text))]
    Id {
        /// Which flag.
        field: &'static str,
        /// What was typed.
        text: String,
        /// The rule that it breaks.
        source: id::Error,
    },
    /// Not a selector.
    #[error("error parsing selectors: {0}")]
    Selector(#[source] matching::SelectorError),
    /// Not a way to match.
    #[error(transparent)]
    Match(matching::Error),
}

impl From<matching::Error> for Error {
    fn from(error: matching::Error) -> Self {
        match error {
            matching::Error::Selector(error) => Self::Selector(error),
            matching::Error::Behavior(_) => Self::Match(error),
        }
    }
}

impl Filter {
    /// Adds its flags.
    pub(super) fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        flags.add("parentID", &mut self.parent_id, "Only entries below this SPIFFE ID");
        flags.add("spiffeID", &mut self.spiffe_id, "Only entries that give this SPIFFE ID");
        flags.add("downstream", &mut self.downstream, "Only entries for downstream servers");
        flags.add(
            "selector",
            &mut self.selectors,
            "Only entries with this selector type:value; repeat it for several",
        );
        flags.add(
            "federatesWith",
            &mut self.federates_with,
            "Only entries that federate with this trust domain; repeat it for several",
        );
        flags.add(
            "matchSelectorsOn",
            &mut self.match_selectors_on,
            "How an entry's selectors must relate to those given: exact, any, superset or subset",
        );
        flags.add("matchFederatesWithOn", &mut self.match_federates_with_on, "How an entry's trust domains must relate to those given: exact, any, superset or subset");
        flags.add("hint", &mut self.hint, "Only entries with this hint");
    }

    /// Whether it says which entries by their IDs or selectors.
    pub(super) fn is_narrow(&self) -> bool {
        !(self.parent_id.is_empty() && self.spiffe_id.is_empty() && self.selectors.is_empty())
    }

    /// The filter as the server takes it.
    ///
    /// # Errors
    /// The first flag that has the wrong form.
    pub(super) fn wire(&self) -> Result<EntryFilter, Error> {
        let by_selectors = matching::by_selectors(&self.selectors, &self.match_selectors_on)?;
        let by_federates_with =
            matching::by_trust_domains(&self.federates_with, &self.match_federates_with_on)?;
        Ok(EntryFilter {
            by_parent_id: optional_id("parent ID", &self.parent_id)?,
            by_spiffe_id: optional_id("SPIFFE ID", &self.spiffe_id)?,
            by_selectors,
            by_federates_with,
            by_hint: Some(self.hint.clone()).filter(|hint| !hint.is_empty()),
            by_downstream: Some(true).filter(|_| self.downstream),
        })
    }
}

fn optional_id(field: &'static str, text: &str) -> Result<Option<Spiffeid>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let id = attributes::spiffe_id(text);
    id.map(Some).map_err(|source| Error::Id { field, text: text.to_owned(), source })
}
