//! The flags that choose agents, shared by `list` and `count`.

use crate::{
    cli::{
        flags::{FlagSet, Ternary},
        go::quote::quoted,
        server::matching,
    },
    wire::proto::spire::api::server::agent::v1::AgentFilter,
};

/// Which agents.
#[derive(Debug)]
pub(super) struct Filter {
    selectors: Vec<String>,
    match_selectors_on: String,
    attestation_type: String,
    can_reattest: Ternary,
    banned: Ternary,
    expires_before: String,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            selectors: Vec::new(),
            match_selectors_on: "superset".to_owned(),
            attestation_type: String::new(),
            can_reattest: Ternary::Any,
            banned: Ternary::Any,
            expires_before: String::new(),
        }
    }
}

/// A filter that cannot be asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Not a selector.
    #[error("error parsing selector {}: {source}", quoted(.source.text()))]
    Selector {
        /// What was typed.
        source: matching::SelectorError,
    },
    /// Not a way to match.
    #[error("unsupported match behavior {}, expected exact, any, superset or subset", quoted(.0))]
    Behavior(String),
}

impl From<matching::Error> for Error {
    fn from(error: matching::Error) -> Self {
        match error {
            matching::Error::Selector(source) => Self::Selector { source },
            matching::Error::Behavior(how) => Self::Behavior(how),
        }
    }
}

impl Filter {
    /// Adds its flags.
    pub(super) fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        flags.add(
            "selector",
            &mut self.selectors,
            "Only agents with this selector type:value; repeat it for several",
        );
        flags.add(
            "matchSelectorsOn",
            &mut self.match_selectors_on,
            "How an agent's selectors must relate to those given: exact, any, superset or subset",
        );
        flags.add(
            "attestationType",
            &mut self.attestation_type,
            "Only agents attested in this way, such as join_token",
        );
        flags.add(
            "canReattest",
            &mut self.can_reattest,
            "true: only agents that can attest again; false: only those that cannot",
        );
        flags.add(
            "banned",
            &mut self.banned,
            "true: only banned agents; false: only those that are not",
        );
        flags.add(
            "expiresBefore",
            &mut self.expires_before,
            "Only agents that expire before this time, such as \"2026-01-02 15:04:05 -0700 -07\"",
        );
    }

    /// The filter as the server takes it.
    ///
    /// # Errors
    /// The first flag that has the wrong form.
    pub(super) fn wire(&self) -> Result<AgentFilter, Error> {
        Ok(AgentFilter {
            by_attestation_type: self.attestation_type.clone(),
            by_selector_match: matching::by_selectors(&self.selectors, &self.match_selectors_on)?,
            by_banned: self.banned.wanted(),
            by_can_reattest: self.can_reattest.wanted(),
            by_expires_before: self.expires_before.clone(),
        })
    }
}
