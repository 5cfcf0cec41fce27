//! Whose programs are under test: finial's, or those of a SPIRE that is there to compare with. Both have
//! the same names, flags and configuration files.

use anyhow::{Context, ensure};
use std::{fmt, os::unix::process::CommandExt, path::PathBuf, process::Command};

/// A product under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    /// finial, as it was built for these benches.
    Finial,
    /// The `spire-server` and `spire-agent` in this folder.
    Spire(PathBuf),
}

const FINIAL: &str = env!("CARGO_BIN_EXE_finial");

impl Product {
    /// A command that runs its program `called` (`spire-server`, `spire-agent` or `spiffe-csi-driver`).
    pub(crate) fn command(&self, called: &str) -> Command {
        match self {
            Self::Finial => {
                let mut command = Command::new(FINIAL);
                command.arg0(called);
                command
            }
            Self::Spire(folder) => Command::new(folder.join(called)),
        }
    }

    /// What its server says of its version.
    pub(crate) fn version(&self) -> anyhow::Result<String> {
        let mut command = self.command("spire-server");
        let output = command.arg("--version").output().with_context(|| format!("{command:?}"))?;
        ensure!(output.status.success(), "{command:?} ended with {}", output.status);
        // SPIRE prints it on stderr.
        let text = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&text).trim().to_owned())
    }

    /// What the configuration file of its agent says besides. All sidecars of a bench are one process,
    /// to which finial grants few connections unless told; SPIRE has neither the limit nor the key.
    pub(crate) const fn agent_limits(&self) -> &'static str {
        match self {
            Self::Finial => {
                "limits {\n        connections = 20000\n        connections_per_process = 20000\n    }"
            }
            Self::Spire(_) => "",
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Finial => "finial",
            Self::Spire(_) => "SPIRE",
        })
    }
}
