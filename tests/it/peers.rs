//! The real peers that tests need beside finial, where `make test` has put them.

use finial::testing::envoy::Lab;
use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

/// The file that an environment variable names; without it a test fails and says what to do, for a
/// skipped test proves nothing.
pub(crate) fn path(variable: &str) -> PathBuf {
    let Some(path) = std::env::var_os(variable) else {
        panic!(
            "{variable} is not set: run `make test`, or `scripts/setup.sh test` and set it as the Makefile does"
        );
    };
    path.into()
}

/// The folder with `spire-server` and `spire-agent` of a real SPIRE, if `SPIRE_BIN_DIR` names one. A fresh
/// machine has none, so a test without it says that it is left out.
pub(crate) fn spire() -> Option<PathBuf> {
    let folder = std::env::var_os("SPIRE_BIN_DIR").filter(|folder| !folder.is_empty());
    if folder.is_none() {
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        // Not captured, as what tests print would be.
        let line = format!("{test}: left out, for SPIRE_BIN_DIR is not set\n");
        let _printed = std::io::stderr().write_all(line.as_bytes());
    }
    folder.map(PathBuf::from)
}

/// Two Envoys of the newest version.
pub(crate) async fn lab() -> Lab {
    lab_of("FINIAL_ENVOY").await
}

/// Two Envoys of the version that `variable` names.
pub(crate) async fn lab_of(variable: &str) -> Lab {
    Lab::new(&path(variable), Path::new(env!("CARGO_TARGET_TMPDIR"))).await
}
