//! The server's part of an SVID: check the CSR, sign the certificate. In process and without store or
//! network, in turn with the P-256 operations that it cannot do without.

use super::micros;
use crate::{
    harness::{
        machine::{Core, on_core, thread_cpu},
        row::{Bound, Pair, Row},
    },
    limits::crypto::P256,
    load::stats::median,
};
use finial::{
    runtime::Clock,
    spiffe::{TrustDomain, svid::leaf_subject},
    x509::{
        KeyPair, KeyType, csr,
        issue::Authority,
        lint,
        name::Name,
        template::{AuthorityTemplate, LeafTemplate, Validity},
    },
};
use std::{hint::black_box, time::Duration};

/// SPECIFICATION: CSR check + sign ≤ 1.4 × raw verify + sign.
const BOUND: f64 = 1.4;
/// One round is short enough to fall between a neighbour's bursts, and there are many of them.
const ROUNDS: usize = 41;
const OPERATIONS: u32 = 200;

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    on_core(Core::Product, || {
        let (signer, raw) = (Signer::new()?, P256::new()?);
        let (mut pairs, mut controls) = (Vec::new(), Vec::new());
        // The first round warms the caches and does not count.
        for round in 0..=ROUNDS {
            let first = micros(timed(|| raw.verify_and_sign())?);
            let signed = micros(timed(|| signer.check_and_sign())?);
            let second = micros(timed(|| raw.verify_and_sign())?);
            if round > 0 {
                pairs.push(Pair { measured: signed, limit: f64::midpoint(first, second) });
                controls.push(first / second);
            }
        }
        let control = median(&controls);
        let row = Row::paired("svid_sign", "server: CSR check + sign, CPU", &pairs, "µs")
            .bound(Bound::TimesLimit(BOUND))
            .detail("control_ratio", control);
        let is_quiet = (0.95..=1.05).contains(&control);
        Ok(vec![row.void((!is_quiet).then(|| format!("raw/raw is {control:.2}, not 1")))])
    })
}

fn timed(work: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let before = thread_cpu();
    for _ in 0..OPERATIONS {
        work()?;
    }
    Ok((thread_cpu() - before) / OPERATIONS)
}

struct Signer {
    authority: Authority,
    request: Vec<u8>,
    uri: String,
    validity: Validity,
}

impl Signer {
    fn new() -> anyhow::Result<Self> {
        let (now, hour) = (Clock::system().now(), Duration::from_secs(3_600));
        let validity = Validity { not_before: now, not_after: now + hour };
        let trust_domain = TrustDomain::parse("example.org")?;
        let template = AuthorityTemplate {
            subject: Name::default(),
            uri: trust_domain.id().to_string(),
            validity: Validity { not_before: now, not_after: now + hour * 24 },
        };
        let key = KeyPair::generate(KeyType::EcP256)?;
        let authority = Authority::self_sign(lint::authority(template)?, key)?;
        let request = csr::create(&KeyPair::generate(KeyType::EcP256)?, &leaf_subject(None), None)?;
        let uri = trust_domain.member("/ns/default/sa/web")?.to_string();
        Ok(Self { authority, request, uri, validity })
    }

    fn check_and_sign(&self) -> anyhow::Result<()> {
        let template = LeafTemplate {
            subject: leaf_subject(None),
            uri: self.uri.clone(),
            dns_names: Vec::new(),
            public_key: csr::verify(black_box(&self.request))?,
            validity: self.validity,
        };
        let linted = lint::leaf(template, self.authority.certificate())?;
        black_box(self.authority.sign(linted)?);
        Ok(())
    }
}
