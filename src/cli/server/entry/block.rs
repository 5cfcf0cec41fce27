//! An entry as people read it: one padded label per line, an empty line at the end. Scripts grep it.

use crate::{
    cli::go::{quote::printable, time},
    wire::proto::spire::api::types::{Entry, Spiffeid},
};
use std::fmt::{Display, Write as _};

/// The lines of one entry.
pub(super) fn block(entry: &Entry) -> String {
    let attributes = entry.additional_attributes.unwrap_or_default();
    let mut text = String::new();
    let id = if entry.id.is_empty() { "(none)".into() } else { printable(&entry.id) };
    line(&mut text, "Entry ID", id);
    line(&mut text, "SPIFFE ID", spiffe_id(entry.spiffe_id.as_ref()));
    line(&mut text, "Parent ID", spiffe_id(entry.parent_id.as_ref()));
    line(&mut text, "Revision", entry.revision_number);
    line_if(&mut text, "Downstream", entry.downstream);
    line(&mut text, "X509-SVID TTL", ttl(entry.x509_svid_ttl));
    line(&mut text, "JWT-SVID TTL", ttl(entry.jwt_svid_ttl));
    if entry.expires_at != 0 {
        line(&mut text, "Expiration time", time::utc(entry.expires_at));
    }
    for selector in &entry.selectors {
        let (kind, value) = (printable(&selector.r#type), printable(&selector.value));
        line(&mut text, "Selector", format_args!("{kind}:{value}"));
    }
    for trust_domain in &entry.federates_with {
        line(&mut text, "FederatesWith", printable(trust_domain));
    }
    for dns_name in &entry.dns_names {
        line(&mut text, "DNS name", printable(dns_name));
    }
    line_if(&mut text, "Admin", entry.admin);
    line_if(&mut text, "StoreSvid", entry.store_svid);
    if !entry.hint.is_empty() {
        line(&mut text, "Hint", printable(&entry.hint));
    }
    line_if(&mut text, "DisableX509SvidPrefetch", attributes.disable_x509_svid_prefetch);
    line_if(&mut text, "JwtSvidIncludeJti", attributes.jwt_svid_include_jti);
    text.push('\n');
    text
}

fn line(text: &mut String, label: &str, value: impl Display) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{label:<23} : {value}");
}

fn line_if(text: &mut String, label: &str, is_set: bool) {
    if is_set {
        line(text, label, true);
    }
}

fn spiffe_id(id: Option<&Spiffeid>) -> String {
    id.map_or_else(String::new, |id| {
        format!("spiffe://{}{}", printable(&id.trust_domain), printable(&id.path))
    })
}

fn ttl(seconds: i32) -> String {
    if seconds == 0 { "default".to_owned() } else { seconds.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::proto::spire::api::types::entry::AdditionalAttributes;

    #[test]
    fn stored_text_cannot_act_on_the_terminal() {
        let hint = "\x1b]0;owned\x07\nEntry ID : forged".to_owned();
        let shown = block(&Entry { hint, ..Entry::default() });
        assert!(shown.contains("Hint                    : \\x1b]0;owned\\a\\nEntry ID : forged\n"));
    }

    #[test]
    fn rare_attributes_are_shown_only_when_set() {
        let attributes =
            AdditionalAttributes { disable_x509_svid_prefetch: true, jwt_svid_include_jti: true };
        let entry =
            Entry { additional_attributes: Some(attributes), store_svid: true, ..Entry::default() };
        let expected = "Entry ID                : (none)\n\
            SPIFFE ID               : \n\
            Parent ID               : \n\
            Revision                : 0\n\
            X509-SVID TTL           : default\n\
            JWT-SVID TTL            : default\n\
            StoreSvid               : true\n\
            DisableX509SvidPrefetch : true\n\
            JwtSvidIncludeJti       : true\n\n";
        assert_eq!(block(&entry), expected);
    }
}
