//! What the Workload API sent, checked as a workload would check it, and shown as SPIRE shows it.

use crate::{
    cli::go::{
        duration::GoDuration,
        quote::{printable, quoted},
        time,
    },
    runtime::clock::unix_secs,
    spiffe::{Bundle, SpiffeId, X509Svid, id, svid::SvidError},
    wire::proto::workload::{X509svid as WireSvid, X509svidResponse},
    x509::{Certificate, SecretKey, cert::CertificateError},
};
use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

/// All identities of a workload, and the bundles of the trust domains they federate with, by name.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) svids: Vec<ReceivedSvid>,
    pub(super) federated: Vec<(String, Vec<Certificate>)>,
}

/// One identity.
#[derive(Debug)]
pub(super) struct ReceivedSvid {
    pub(super) svid: X509Svid,
    pub(super) bundle: Vec<Certificate>,
    hint: String,
}

/// An answer that a workload could not use. The texts are SPIRE's.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Nothing in it.
    #[error("workload response contains no svids")]
    Empty,
    /// A federated bundle is broken.
    #[error("failed to parse bundle for federated domain {}: {source}", quoted(.trust_domain))]
    Federated {
        /// Whose.
        trust_domain: String,
        /// What is wrong.
        source: CertificateError,
    },
    /// An SVID is broken.
    #[error("failed to parse svid entry {index} for spiffe id {}: {source}", quoted(.spiffe_id))]
    Svid {
        /// Counted from 0.
        index: usize,
        /// What it says it is.
        spiffe_id: String,
        /// What is wrong.
        source: PartError,
    },
    /// An SVID would not be believed.
    #[error("{} SVID failed verification against bundle: {source}", quoted(.spiffe_id.as_str()))]
    Unverified {
        /// Whose.
        spiffe_id: SpiffeId,
        /// Why not.
        source: SvidError,
    },
}

/// What is wrong with one SVID of an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum PartError {
    /// Its SPIFFE ID.
    #[error(transparent)]
    Id(#[from] id::Error),
    /// A certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Its parts do not fit together.
    #[error(transparent)]
    Svid(#[from] SvidError),
    /// Nothing to verify it by.
    #[error("no certificates in trust bundle")]
    NoBundle,
}

impl Received {
    /// Reads an answer and checks at `now` that its bundle verifies each SVID.
    ///
    /// # Errors
    /// The first part that a workload could not use.
    pub(super) fn read(answer: &X509svidResponse, now: SystemTime) -> Result<Self, Error> {
        if answer.svids.is_empty() {
            return Err(Error::Empty);
        }
        let mut federated = Vec::new();
        for (trust_domain, bundle) in &answer.federated_bundles {
            let bundle = Certificate::parse_concatenated(bundle).map_err(|source| {
                Error::Federated { trust_domain: trust_domain.clone(), source }
            })?;
            federated.push((trust_domain.clone(), bundle));
        }
        federated.sort_by(|a, b| a.0.cmp(&b.0));
        let mut svids = Vec::new();
        for (index, wire) in answer.svids.iter().enumerate() {
            let svid = ReceivedSvid::read(wire).map_err(|source| {
                let spiffe_id = wire.spiffe_id.clone();
                Error::Svid { index, spiffe_id, source }
            })?;
            svid.verify(now).map_err(|source| {
                let spiffe_id = svid.svid.id().clone();
                Error::Unverified { spiffe_id, source }
            })?;
            svids.push(svid);
        }
        Ok(Self { svids, federated })
    }

    /// The answer as people read it; it took `waited`.
    pub(super) fn text(&self, waited: Duration) -> String {
        let plural = if self.svids.len() == 1 { "" } else { "s" };
        let mut text =
            format!("Received {} svid{plural} after {}\n", self.svids.len(), GoDuration(waited));
        for svid in &self.svids {
            text.push('\n');
            svid.push_text(&mut text);
            for (trust_domain, bundle) in &self.federated {
                let label = format!("[{}] CA", printable(trust_domain));
                push_lives(&mut text, &label, bundle);
            }
        }
        text.push('\n');
        text
    }
}

impl ReceivedSvid {
    fn read(wire: &WireSvid) -> Result<Self, PartError> {
        let id = SpiffeId::parse(&wire.spiffe_id)?;
        let chain = Certificate::parse_concatenated(&wire.x509_svid)?;
        let svid = X509Svid::new(&id, chain, SecretKey::from_pkcs8(wire.x509_svid_key.to_vec()))?;
        let bundle = Certificate::parse_concatenated(&wire.bundle)?;
        if bundle.is_empty() {
            return Err(PartError::NoBundle);
        }
        Ok(Self { svid, bundle, hint: wire.hint.clone() })
    }

    fn verify(&self, now: SystemTime) -> Result<(), SvidError> {
        let trust_domain = self.svid.id().trust_domain();
        self.svid.verify(&Bundle::from_certificates(trust_domain, self.bundle.clone()), now)
    }

    fn push_text(&self, text: &mut String) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "SPIFFE ID:\t\t{}", self.svid.id());
        if !self.hint.is_empty() {
            let _ = writeln!(text, "Hint:\t\t\t{}", printable(&self.hint));
        }
        if let Some((leaf, intermediates)) = self.svid.chain().split_first() {
            push_life(text, "SVID", leaf);
            push_lives(text, "Intermediate", intermediates);
        }
        push_lives(text, "CA", &self.bundle);
    }
}

/// When each of these certificates is valid.
pub(super) fn push_lives(text: &mut String, label: &str, certificates: &[Certificate]) {
    for (index, certificate) in certificates.iter().enumerate() {
        push_life(text, &format!("{label} #{}", index + 1), certificate);
    }
}

/// When a certificate is valid.
pub(super) fn push_life(text: &mut String, label: &str, certificate: &Certificate) {
    let from = time::utc(unix_secs(certificate.not_before()));
    let until = time::utc(unix_secs(certificate.not_after()));
    // Writing to a String cannot fail.
    let _ = write!(text, "{label} Valid After:\t{from}\n{label} Valid Until:\t{until}\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{runtime::clock::from_unix_secs, testing::ca::TestCa};
    use std::collections::HashMap;

    fn answer(ca: &TestCa, bundle: &TestCa) -> X509svidResponse {
        let id = SpiffeId::parse("spiffe://example.org/w").unwrap();
        let svid = ca.svid(&id, Duration::from_secs(3_600));
        let svid = WireSvid {
            spiffe_id: id.to_string(),
            x509_svid: svid.chain()[0].der().clone(),
            x509_svid_key: svid.key().pkcs8_der().to_vec().into(),
            bundle: bundle.authority().certificate().der().clone(),
            hint: "in\x1bt".to_owned(),
        };
        let federated = bundle.authority().certificate().der().clone();
        let federated_bundles = HashMap::from([("spiffe://other.org".to_owned(), federated)]);
        X509svidResponse { svids: vec![svid], crl: Vec::new(), federated_bundles }
    }

    #[test]
    fn hint_and_federated_bundles_are_shown() {
        let now = from_unix_secs(1_795_366_673);
        let ca = TestCa::new("example.org", now);
        let text = Received::read(&answer(&ca, &ca), now).unwrap().text(Duration::from_millis(3));
        assert!(
            text.starts_with("Received 1 svid after 3ms\n\nSPIFFE ID:\t\tspiffe://example.org/w\n")
        );
        assert!(text.contains("\nHint:\t\t\tin\\x1bt\nSVID Valid After:\t2026-11-22 "), "{text}");
        assert!(text.contains("\n[spiffe://other.org] CA #1 Valid After:\t2026-11-22 "), "{text}");
    }

    #[test]
    fn an_svid_that_its_bundle_does_not_verify_is_refused() {
        let now = from_unix_secs(1_795_366_673);
        let (ca, other) = (TestCa::new("example.org", now), TestCa::new("example.org", now));
        let error = Received::read(&answer(&ca, &other), now).unwrap_err().to_string();
        let expected = "\"spiffe://example.org/w\" SVID failed verification against bundle: ";
        assert!(error.starts_with(expected), "{error}");
        let empty = Received::read(&X509svidResponse::default(), now).unwrap_err();
        assert_eq!(empty.to_string(), "workload response contains no svids");
    }
}
