//! An agent as people read it: one padded label per line, an empty line at the end. Scripts grep it.

use crate::{
    cli::go::{quote::printable, time},
    wire::proto::spire::api::types::Agent,
};
use std::fmt::{Display, Write as _};

/// The lines of one agent.
pub(super) fn block(agent: &Agent) -> String {
    let mut text = String::new();
    let id = agent.id.clone().unwrap_or_default();
    let (trust_domain, path) = (printable(&id.trust_domain), printable(&id.path));
    line(&mut text, "SPIFFE ID", format_args!("spiffe://{trust_domain}{path}"));
    line(&mut text, "Attestation type", printable(&agent.attestation_type));
    line(&mut text, "Expiration time", time::local(agent.x509svid_expires_at));
    if agent.banned {
        line(&mut text, "Banned", true);
    } else {
        line(&mut text, "Serial number", printable(&agent.x509svid_serial_number));
    }
    line(&mut text, "Can re-attest", agent.can_reattest);
    if !agent.agent_version.is_empty() {
        line(&mut text, "Agent version", printable(&agent.agent_version));
    }
    text.push('\n');
    text
}

/// The lines of an agent's selectors.
pub(super) fn selectors(agent: &Agent) -> String {
    let mut text = String::new();
    for selector in &agent.selectors {
        let (kind, value) = (printable(&selector.r#type), printable(&selector.value));
        line(&mut text, "Selectors", format_args!("{kind}:{value}"));
    }
    text
}

fn line(text: &mut String, label: &str, value: impl Display) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{label:<17} : {value}");
}
