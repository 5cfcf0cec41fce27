//! By which bundle the agent knows its server, from the first contact on.
//!
//! The bundle that the server itself gave counts, once there is one. Before that it is the operator's
//! file, read anew for each attempt, or with `insecure_bootstrap` nothing. After a server was refused
//! the file counts again, for one attempt, if its content is another than at the first contact: the
//! operator has replaced it. An unchanged file does not, or an authority that was retired because its
//! key leaked could come back through it.

use super::bootstrap::{self, BootstrapBundle, BootstrapError};
use crate::{
    agent::{
        config::Bootstrap,
        storage::{NodeFile, node::NodeFileError},
    },
    runtime::{Clock, Publisher, Reader},
    spiffe::{Bundle, TrustDomain, X509Svid},
    transport::{mtls::ServerTrust, verify},
};
use parking_lot::Mutex;
use std::sync::Arc;

/// What the agent believes of its server. Shared by those who connect and those who learn.
#[derive(Debug)]
pub struct Trust {
    trust_domain: TrustDomain,
    source: Bootstrap,
    node: Arc<NodeFile>,
    clock: Clock,
    learned: Publisher<Option<Arc<Bundle>>>,
    file: Mutex<FileUse>,
}

/// What is known of the operator's file.
#[derive(Debug, Default)]
struct FileUse {
    /// Its content at the first contact, or what was taken over since.
    accepted: Option<String>,
    /// What it says in the current attempt, if that is made with it.
    trying: Option<Tried>,
    last_refusal: Refusal,
}

/// The file's content in one attempt.
#[derive(Debug)]
struct Tried {
    digest: String,
    bundle: Arc<Bundle>,
}

/// Whether the last server was refused, and by what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Refusal {
    #[default]
    None,
    ByLearned,
    ByFile,
}

impl Trust {
    /// What the last process learned, or nothing yet.
    #[must_use]
    pub fn open(
        trust_domain: TrustDomain,
        source: Bootstrap,
        node: Arc<NodeFile>,
        clock: Clock,
    ) -> Self {
        let state = node.state();
        let learned = (!state.bundle.is_empty())
            .then(|| Arc::new(Bundle::from_certificates(trust_domain.clone(), state.bundle)));
        let file = Mutex::new(FileUse { accepted: state.bootstrap_digest, ..FileUse::default() });
        Self { trust_domain, source, node, clock, learned: Publisher::new(learned), file }
    }

    /// The bundle that the server gave, as it changes.
    #[must_use]
    pub fn learned(&self) -> Reader<Option<Arc<Bundle>>> {
        self.learned.reader()
    }

    /// What the next attempt to connect shall believe. Blocks: it may read the operator's file.
    ///
    /// # Errors
    /// When only the file could tell and it cannot be used.
    pub fn next_attempt(&self) -> Result<ServerTrust, BootstrapError> {
        let expected = self.trust_domain.server_id();
        let mut file = self.file.lock();
        file.trying = None;
        let has_learned = self.learned.current().is_some();
        let Bootstrap::Bundle { path, format } = &self.source else {
            return Ok(match has_learned {
                true => self.by_learned(),
                false => ServerTrust::InsecureBootstrap { expected },
            });
        };
        if has_learned && file.last_refusal != Refusal::ByLearned {
            return Ok(self.by_learned());
        }
        match bootstrap::read(path, *format, &self.trust_domain, self.clock.now()) {
            Ok(found) if !has_learned || file.is_replaced(&found) => {
                if has_learned {
                    tracing::warn!(path = %path.display(), "the trust bundle file was replaced: trying it");
                }
                let bundle = Arc::new(found.bundle);
                let reader = Publisher::new(Arc::clone(&bundle)).reader();
                file.trying = Some(Tried { digest: found.digest, bundle });
                Ok(ServerTrust::Verified { expected, trust: verify::Trust::in_bundle(reader) })
            }
            Err(error) if !has_learned => Err(error),
            _ => Ok(self.by_learned()),
        }
    }

    /// The server of the last attempt was refused because it could not be verified.
    pub fn refused(&self) {
        let mut file = self.file.lock();
        file.last_refusal =
            if file.trying.is_some() { Refusal::ByFile } else { Refusal::ByLearned };
    }

    /// Whether the last attempt led, by the operator's file, to a server that has other authorities than the
    /// one that signed `svid`: it would refuse the certificate, and say so in no words.
    #[must_use]
    pub fn is_foreign(&self, svid: &X509Svid) -> bool {
        let file = self.file.lock();
        let (Some(tried), Some(top)) = (&file.trying, svid.chain().last()) else { return false };
        tried.bundle.authority_of(top).is_none()
    }

    /// The server, to which the last attempt led, has given its bundle. Says whether that is news.
    /// Blocks: it is stored.
    ///
    /// # Errors
    /// When it cannot be stored; it counts in this process nevertheless.
    pub fn learn(&self, bundle: Bundle) -> Result<(), NodeFileError> {
        let accepted = {
            let mut file = self.file.lock();
            file.last_refusal = Refusal::None;
            if file.trying.is_some() {
                file.accepted = file.trying.take().map(|tried| tried.digest);
            }
            file.accepted.clone()
        };
        let known = self.learned.current();
        if known.as_deref() == Some(&bundle) {
            return Ok(());
        }
        let certificates: Vec<_> =
            bundle.x509_authorities().iter().map(|a| a.certificate.clone()).collect();
        self.learned.publish(Some(Arc::new(bundle)));
        if self.node.state().bundle == certificates {
            return Ok(());
        }
        self.node.update(|state| {
            state.bundle = certificates;
            state.bootstrap_digest = accepted;
        })
    }

    /// Follows the learned bundle from handshake to handshake.
    fn by_learned(&self) -> ServerTrust {
        let (reader, trust_domain) = (self.learned.reader(), self.trust_domain.clone());
        let trust =
            verify::Trust::new(move |asked| reader.current().filter(|_| *asked == trust_domain));
        ServerTrust::Verified { expected: self.trust_domain.server_id(), trust }
    }
}

impl FileUse {
    /// Whether the operator has changed the file. When it is not known what it was (the data directory
    /// is from SPIRE), what it is now counts as what it was.
    fn is_replaced(&mut self, found: &BootstrapBundle) -> bool {
        match &self.accepted {
            Some(accepted) => *accepted != found.digest,
            None => {
                self.accepted = Some(found.digest.clone());
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agent::config::BundleFormat, runtime::clock::from_unix_secs, testing::ca::TestCa, x509::pem,
    };
    use std::{fs, path::Path, time::SystemTime};

    fn put(path: &Path, ca: &TestCa) {
        fs::write(path, pem::certificates(&[ca.authority().certificate().clone()])).unwrap();
    }

    fn open(dir: &Path) -> Trust {
        let node = Arc::new(NodeFile::open(&dir.join("data"), 0).unwrap());
        let source = Bootstrap::Bundle { path: dir.join("bundle.pem"), format: BundleFormat::Pem };
        let clock = Clock::anchored_at(from_unix_secs(1_800_000_000));
        Trust::open(TrustDomain::parse("example.org").unwrap(), source, node, clock)
    }

    /// Whether the next attempt would believe a server whose certificate `ca` signed.
    fn believes(trust: &Trust, ca: &TestCa) -> bool {
        let ServerTrust::Verified { trust, expected } = trust.next_attempt().unwrap() else {
            panic!("expected verification")
        };
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000);
        let svid = ca.svid(&expected, std::time::Duration::from_secs(60));
        let leaf = rustls_pki_types::CertificateDer::from(svid.chain()[0].der().to_vec());
        trust.verify(verify::Role::Server, &leaf, &[], now).is_ok()
    }

    fn authority() -> TestCa {
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000);
        TestCa::new("example.org", now)
    }

    #[test]
    fn before_the_first_contact_the_file_is_read_for_each_attempt() {
        let dir = tempfile::tempdir().unwrap();
        let (wrong, right, trust) = (authority(), authority(), open(dir.path()));
        assert!(matches!(trust.next_attempt(), Err(BootstrapError::Read { .. })));
        put(&dir.path().join("bundle.pem"), &wrong);
        assert!(!believes(&trust, &right));
        trust.refused();
        put(&dir.path().join("bundle.pem"), &right);
        assert!(believes(&trust, &right));
    }

    #[test]
    fn what_was_learned_counts_and_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (first, later) = (authority(), authority());
        put(&dir.path().join("bundle.pem"), &first);
        let trust = open(dir.path());
        assert!(believes(&trust, &first));
        trust.learn(later.bundle(2, &[])).unwrap();
        assert!(believes(&trust, &later) && !believes(&trust, &first));
        assert!(believes(&open(dir.path()), &later));
    }

    #[test]
    fn a_replaced_file_is_tried_after_a_refusal_and_an_unchanged_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (old, rebuilt) = (authority(), authority());
        put(&dir.path().join("bundle.pem"), &old);
        let trust = open(dir.path());
        assert!(believes(&trust, &old));
        trust.learn(authority().bundle(1, &[])).unwrap();
        trust.refused();
        assert!(!believes(&trust, &old), "the unchanged file must not revive a retired authority");

        let restarted = open(dir.path());
        put(&dir.path().join("bundle.pem"), &rebuilt);
        assert!(!believes(&restarted, &rebuilt), "nothing was refused yet");
        restarted.refused();
        assert!(believes(&restarted, &rebuilt));
        restarted.refused();
        assert!(!believes(&restarted, &rebuilt), "refused by the file: back to what was learned");
        restarted.refused();
        assert!(believes(&restarted, &rebuilt));
        restarted.learn(rebuilt.bundle(1, &[])).unwrap();
        restarted.refused();
        assert!(believes(&restarted, &rebuilt));
    }
}
