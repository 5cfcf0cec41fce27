//! Whether what a sidecar is given is right: every answer by its form, a sample of them to the last
//! signature.

use finial::{
    runtime::Clock,
    spiffe::SpiffeId,
    testing::{
        sds::Answer,
        secret::{Authorities, verify_secret},
    },
    wire::proto::envoy::extensions::transport_sockets::tls::v3::Secret,
};
use std::{
    error::Error,
    sync::atomic::{AtomicU64, Ordering},
};

/// What is checked, and how often.
pub(crate) struct Checks {
    every: u64,
    default: Option<SpiffeId>,
    clock: Clock,
    answers: AtomicU64,
}

/// What one sidecar holds that its answers are judged by.
#[derive(Default)]
pub(crate) struct Held {
    authorities: Option<Secret>,
    unverified: Vec<Unverified>,
}

/// A sampled certificate that came before the authorities to judge it by.
struct Unverified {
    name: String,
    secret: Secret,
}

impl Checks {
    /// Verifies one answer in `every`, and the first. `default` is the identity that names other than
    /// SPIFFE IDs stand for.
    pub(crate) const fn new(every: u64, default: Option<SpiffeId>) -> Self {
        Self { every, default, clock: Clock::system(), answers: AtomicU64::new(0) }
    }

    /// Judges the form of an answer on a stream that asks for `name` and had `last_nonce` before.
    pub(crate) fn form<'a>(
        name: &str,
        last_nonce: &str,
        answer: &'a Answer,
    ) -> Result<&'a Secret, String> {
        if answer.version.is_empty() || answer.nonce.is_empty() {
            return Err(format!("{name}: an answer without version or nonce"));
        }
        if answer.nonce == last_nonce {
            return Err(format!("{name}: nonce {last_nonce} came twice"));
        }
        match answer.secrets.as_slice() {
            [secret] if secret.name == name => Ok(secret),
            _ => Err(format!("asked for {name}, got {:?}", answer.names())),
        }
    }

    /// Judges the content of an answer if it is one of the sample; how many answers were verified.
    pub(crate) fn content(
        &self,
        name: &str,
        secret: &Secret,
        held: &mut Held,
    ) -> Result<u64, String> {
        let is_sampled = self.samples_this();
        if names_authorities(name) {
            held.authorities = Some(secret.clone());
            let waiting = std::mem::take(&mut held.unverified);
            if waiting.is_empty() && !is_sampled {
                return Ok(0);
            }
            let authorities = Authorities::of(secret).map_err(|error| said(name, &error))?;
            let verified = waiting.len() as u64 + u64::from(is_sampled);
            for early in waiting {
                self.identity(&early.name, &early.secret, &authorities)?;
            }
            return Ok(verified);
        }
        if !is_sampled {
            return Ok(0);
        }
        let Some(authorities) = &held.authorities else {
            held.unverified.push(Unverified { name: name.to_owned(), secret: secret.clone() });
            return Ok(0);
        };
        let authorities = Authorities::of(authorities).map_err(|error| said(name, &error))?;
        self.identity(name, secret, &authorities)?;
        Ok(1)
    }

    fn identity(
        &self,
        name: &str,
        secret: &Secret,
        authorities: &Authorities,
    ) -> Result<(), String> {
        let svid = verify_secret(secret, authorities, self.clock.now())
            .map_err(|error| said(name, &error))?;
        let by_name = SpiffeId::parse(name).ok();
        match by_name.as_ref().or(self.default.as_ref()) {
            Some(expected) if expected != svid.id() => {
                Err(format!("{name} is {}, expected {expected}", svid.id()))
            }
            _ => Ok(()),
        }
    }

    fn samples_this(&self) -> bool {
        let number = self.answers.fetch_add(1, Ordering::Relaxed);
        // Mixed (splitmix64), so that the sample does not keep step with the order of the streams.
        let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 31)).is_multiple_of(self.every.max(1))
    }
}

/// Whether a secret of this name is to verify others with: SPIRE's names, or a trust domain's.
fn names_authorities(name: &str) -> bool {
    matches!(name, "ROOTCA" | "ALL") || SpiffeId::parse(name).is_ok_and(|id| id.path().is_empty())
}

/// The error with its causes, on one line.
fn said(name: &str, error: &dyn Error) -> String {
    let mut text = format!("{name}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
