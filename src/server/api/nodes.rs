//! Which agents a filter means, in pages, as SPIRE's messages show them.
//!
//! Pure: from a request and nodes to messages. Texts and defaults are SPIRE's (server.md §1.7–1.8);
//! unlike SPIRE's, a filter that cannot be read is an error, and a page that is the last one says so.

use crate::{
    server::store::{Node, Store},
    spiffe::{SelectorSet, selector},
    transport::status::Kind,
    wire::{
        self,
        proto::spire::api::{
            server::agent::v1::AgentFilter,
            types::{self, selector_match::MatchBehavior},
        },
    },
};
use std::sync::Arc;
use time::{Date, Month, Time, UtcOffset};
use tonic::Status;

/// The largest page: 1,000 agents are about 300 KiB, far below gRPC's default limit.
const MAX_PAGE: usize = 1_000;

/// Which nodes are meant.
#[derive(Debug, Default)]
pub(super) struct Filter {
    attestation_type: Option<String>,
    selectors: Option<(SelectorSet, MatchBehavior)>,
    banned: Option<bool>,
    can_reattest: Option<bool>,
    expires_before: Option<i64>,
}

/// A page of nodes.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) nodes: Vec<Arc<Node>>,
    /// Where the next one begins; empty when this was the last.
    pub(super) next: String,
}

/// A request for nodes that cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FilterError {
    #[error("failed to parse selectors: {0}")]
    Selector(#[from] selector::Error),
    #[error("cannot list by empty selector set")]
    NoSelectors,
    #[error("{0} is no way to match selectors, expected 0 to 3")]
    Match(i32),
    #[error(
        "by_expires_before is {0:?}, expected a time such as \"2006-01-02 15:04:05 -0700 -07\""
    )]
    ExpiresBefore(String),
    #[error("could not parse token '{0}'")]
    PageToken(String),
}

impl Filter {
    /// Reads a filter; without one all nodes are meant.
    pub(super) fn read(wire: Option<AgentFilter>) -> Result<Self, FilterError> {
        let Some(wire) = wire else { return Ok(Self::default()) };
        let selectors = match wire.by_selector_match {
            Some(by) => Some(read_selectors(&by)?),
            None => None,
        };
        let expires_before = match wire.by_expires_before.as_str() {
            "" => None,
            text => Some(go_time(text).ok_or_else(|| FilterError::ExpiresBefore(text.to_owned()))?),
        };
        Ok(Self {
            attestation_type: Some(wire.by_attestation_type).filter(|kind| !kind.is_empty()),
            selectors,
            banned: wire.by_banned,
            can_reattest: wire.by_can_reattest,
            expires_before,
        })
    }

    /// Whether `node` is meant.
    pub(super) fn accepts(&self, node: &Node) -> bool {
        self.attestation_type.as_ref().is_none_or(|kind| *kind == node.attestation_type)
            && self.banned.is_none_or(|banned| banned == node.banned)
            && self.can_reattest.is_none_or(|can| can == node.can_reattest)
            && self.expires_before.is_none_or(|before| node.expires_at < before)
            && self
                .selectors
                .as_ref()
                .is_none_or(|(given, how)| is_match(*how, given, &node.selectors))
    }

    /// The nodes that are meant, all of them or a page. `page_size` 0 asks for all (server.md §1.7).
    pub(super) fn page(
        &self,
        store: &Store,
        page_size: i32,
        token: &str,
    ) -> Result<Page, FilterError> {
        let Some(size) = usize::try_from(page_size).ok().filter(|size| *size > 0) else {
            let nodes = store.nodes().into_iter().filter(|node| self.accepts(node)).collect();
            return Ok(Page { nodes, next: String::new() });
        };
        let size = size.min(MAX_PAGE);
        let mut row = match token {
            "" => i64::MIN,
            token => token.parse().map_err(|_| FilterError::PageToken(token.to_owned()))?,
        };
        let mut page = Page::default();
        loop {
            let rows = store.nodes_after(row, MAX_PAGE);
            let is_end = rows.len() < MAX_PAGE;
            for (node_row, node) in rows {
                if self.accepts(&node) {
                    if page.nodes.len() == size {
                        page.next = row.to_string();
                        return Ok(page);
                    }
                    page.nodes.push(node);
                }
                row = node_row;
            }
            if is_end {
                return Ok(page);
            }
        }
    }
}

fn read_selectors(by: &types::SelectorMatch) -> Result<(SelectorSet, MatchBehavior), FilterError> {
    let given = wire::selector::selector_set(&by.selectors)?;
    if given.is_empty() {
        return Err(FilterError::NoSelectors);
    }
    let how = MatchBehavior::try_from(by.r#match).map_err(|_| FilterError::Match(by.r#match))?;
    Ok((given, how))
}

fn is_match(how: MatchBehavior, given: &SelectorSet, node: &SelectorSet) -> bool {
    match how {
        MatchBehavior::MatchExact => node == given,
        MatchBehavior::MatchSubset => !node.is_empty() && node.is_subset_of(given),
        MatchBehavior::MatchSuperset => given.is_subset_of(node),
        MatchBehavior::MatchAny => given.as_slice().iter().any(|selector| node.contains(selector)),
    }
}

/// Reads Go's layout `2006-01-02 15:04:05 -0700 -07`, in which SPIRE's CLI sends times: seconds since
/// the Unix epoch.
fn go_time(text: &str) -> Option<i64> {
    let mut words = text.split(' ');
    let (date, time, offset) = (words.next()?, words.next()?, words.next()?);
    let short_offset = words.next()?;
    if words.next().is_some() || !offset.starts_with(short_offset) {
        return None;
    }
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let sign: i32 = match offset.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let digits = offset.get(1..).filter(|digits| digits.len() == 4)?;
    let (hours, minutes): (i32, i32) =
        (digits.get(..2)?.parse().ok()?, digits.get(2..)?.parse().ok()?);
    let offset = UtcOffset::from_whole_seconds(sign * (hours * 3_600 + minutes * 60)).ok()?;
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let day = u8::try_from(day).ok()?;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, day).ok()?;
    let [hour, minute, second] = [hour, minute, second].map(u8::try_from);
    let time = Time::from_hms(hour.ok()?, minute.ok()?, second.ok()?).ok()?;
    Some(date.with_time(time).assume_offset(offset).unix_timestamp())
}

fn numbers(text: &str, separator: char) -> Option<[u32; 3]> {
    let mut parts = text.split(separator).map(|part| part.parse().ok());
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

/// A node as SPIRE's API shows it, with the fields that `mask` asks for; no mask asks for all.
pub(super) fn to_wire(node: &Node, mask: Option<&types::AgentMask>) -> types::Agent {
    let agent = types::Agent {
        id: Some((&node.id).into()),
        attestation_type: node.attestation_type.clone(),
        x509svid_serial_number: node.serial.clone(),
        x509svid_expires_at: node.expires_at,
        selectors: wire::selector::to_wire(&node.selectors),
        banned: node.banned,
        can_reattest: node.can_reattest,
        agent_version: node.agent_version.clone(),
    };
    let Some(mask) = mask else { return agent };
    let text = |asked: bool, text: String| if asked { text } else { String::new() };
    types::Agent {
        attestation_type: text(mask.attestation_type, agent.attestation_type),
        x509svid_serial_number: text(mask.x509svid_serial_number, agent.x509svid_serial_number),
        x509svid_expires_at: if mask.x509svid_expires_at { agent.x509svid_expires_at } else { 0 },
        selectors: if mask.selectors { agent.selectors } else { Vec::new() },
        banned: mask.banned && agent.banned,
        can_reattest: mask.can_reattest && agent.can_reattest,
        agent_version: text(mask.agent_version, agent.agent_version),
        ..agent
    }
}

impl From<FilterError> for Status {
    fn from(error: FilterError) -> Self {
        Kind::Invalid.status(error.to_string())
    }
}

#[cfg(test)]
mod tests;
