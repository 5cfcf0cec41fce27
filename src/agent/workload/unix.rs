//! The `unix` attestor: who a process acts as, and on request which executable it runs.
//!
//! Selectors and their meaning are SPIRE's (SPIRE 1.15: workloadattestor/unix): effective ids, names
//! where they are known. Unlike SPIRE's names come from two files only, see [`super::accounts`].

use super::{
    accounts::{Accounts, AccountsError},
    executable::{HashError, Hasher},
    process::{Ids, Process, ProcessError},
};
use crate::{
    agent::config::Executable,
    runtime::Clock,
    spiffe::{Selector, selector},
};

/// Attests processes by their credentials.
#[derive(Debug)]
pub struct UnixAttestor {
    accounts: Accounts,
    executable: Executable,
    hasher: Hasher,
}

/// Why the attestor cannot tell, which is never the same as having nothing to tell.
#[derive(Debug, thiserror::Error)]
pub enum UnixError {
    /// /proc does not say.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The names of accounts cannot be read.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// The program has no digest.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// A fact makes no selector.
    #[error("cannot describe the caller")]
    Selector(#[from] selector::Error),
}

/// What the selectors of this attestor begin with.
pub const KIND: &str = "unix";

impl UnixAttestor {
    /// An attestor that takes names from `accounts`.
    #[must_use]
    pub fn new(executable: Executable, accounts: Accounts, clock: Clock) -> Self {
        Self { accounts, executable, hasher: Hasher::new(clock) }
    }

    /// The selectors of process `pid`, all of them. Dropping the future is safe.
    ///
    /// # Errors
    /// When any part cannot be found out.
    pub async fn attest(&self, pid: i32) -> Result<Vec<Selector>, UnixError> {
        let mut selectors = self.credentials(pid)?;
        if self.executable == Executable::Ignored {
            return Ok(selectors);
        }
        let process = Process::open(pid)?;
        selectors.push(Selector::new(KIND, &format!("path:{}", process.executable_path()?))?);
        if let Executable::PathAndHash { max_bytes } = self.executable {
            let digest = self.hasher.sha256(process.executable()?, max_bytes).await?;
            selectors.push(Selector::new(KIND, &format!("sha256:{digest}"))?);
        }
        Ok(selectors)
    }

    fn credentials(&self, pid: i32) -> Result<Vec<Selector>, UnixError> {
        let ids = Ids::of(pid)?;
        let mut selectors = Vec::with_capacity(4 + 2 * ids.groups.len());
        let mut add = |value: String| -> Result<(), UnixError> {
            selectors.push(Selector::new(KIND, &value)?);
            Ok(())
        };
        add(format!("uid:{}", ids.uid))?;
        if let Some(user) = self.accounts.user(ids.uid)? {
            add(format!("user:{user}"))?;
        }
        add(format!("gid:{}", ids.gid))?;
        if let Some(group) = self.accounts.group(ids.gid)? {
            add(format!("group:{group}"))?;
        }
        for gid in ids.groups {
            add(format!("supplementary_gid:{gid}"))?;
            if let Some(group) = self.accounts.group(gid)? {
                add(format!("supplementary_group:{group}"))?;
            }
        }
        Ok(selectors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spiffe::SelectorSet;
    use std::process::Command;

    fn attestor(executable: Executable) -> (tempfile::TempDir, UnixAttestor) {
        let dir = tempfile::tempdir().unwrap();
        let (users, groups) = (dir.path().join("passwd"), dir.path().join("group"));
        std::fs::write(&users, "admin:x:0:0::/:\nme:x:4711:1::/:").unwrap();
        std::fs::write(&groups, "wheel:x:0:\nteam:x:815:").unwrap();
        let accounts = Accounts::from_files(users, groups);
        (dir, UnixAttestor::new(executable, accounts, Clock::system()))
    }

    async fn attest_own(executable: Executable) -> SelectorSet {
        let (_dir, attestor) = attestor(executable);
        let pid = i32::try_from(std::process::id()).unwrap();
        attestor.attest(pid).await.unwrap().into_iter().collect()
    }

    fn has(selectors: &SelectorSet, text: &str) -> bool {
        selectors.contains(&Selector::parse(text).unwrap())
    }

    #[tokio::test]
    async fn a_process_is_told_by_its_ids() {
        let selectors = attest_own(Executable::Ignored).await;
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        assert!(has(&selectors, &format!("unix:uid:{}", uid.as_raw())), "{selectors:?}");
        assert!(has(&selectors, &format!("unix:gid:{}", gid.as_raw())), "{selectors:?}");
        let kinds = selectors.as_slice().iter().map(Selector::value);
        assert!(kinds.clone().all(|v| !v.starts_with("path:") && !v.starts_with("sha256:")));
    }

    #[tokio::test]
    async fn the_executable_is_told_only_on_request() {
        let own = std::fs::read_link("/proc/self/exe").unwrap();
        let path = format!("unix:path:{}", own.display());
        let selectors = attest_own(Executable::Path).await;
        assert!(has(&selectors, &path), "{selectors:?}");
        let with_hash = attest_own(Executable::PathAndHash { max_bytes: None }).await;
        assert_eq!(with_hash.len(), selectors.len() + 1);
        let digest = with_hash.as_slice().iter().find_map(|s| s.value().strip_prefix("sha256:"));
        assert_eq!(digest.unwrap().len(), 64);
    }

    #[tokio::test]
    async fn an_executable_over_the_limit_fails_the_attestation_as_a_whole() {
        let (_dir, attestor) = attestor(Executable::PathAndHash { max_bytes: Some(10) });
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(matches!(
            attestor.attest(pid).await,
            Err(UnixError::Hash(HashError::TooLarge { limit: 10, .. }))
        ));
    }

    #[tokio::test]
    async fn names_and_supplementary_groups_are_told_where_known() {
        assert!(rustix::process::geteuid().is_root(), "this test changes its user: run it as root");
        let (_dir, attestor) = attestor(Executable::Ignored);
        let mut child = Command::new("setpriv")
            .args(["--reuid=4711", "--regid=815", "--groups=0,99", "sleep", "60"])
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let expected: SelectorSet = [
            "uid:4711",
            "user:me",
            "gid:815",
            "group:team",
            "supplementary_gid:0",
            "supplementary_group:wheel",
            "supplementary_gid:99",
        ]
        .iter()
        .map(|value| Selector::new(KIND, value).unwrap())
        .collect();
        // setpriv becomes the other user some time after its start.
        let attested = loop {
            let attested: SelectorSet = attestor.attest(pid).await.unwrap().into_iter().collect();
            if attested == expected || child.try_wait().unwrap().is_some() {
                break attested;
            }
            tokio::task::yield_now().await;
        };
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(attested, expected);
    }
}
