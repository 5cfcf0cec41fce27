//! The real peers that tests need beside finial, where `make test` has put them.

use finial::testing::envoy::Lab;
use std::path::{Path, PathBuf};

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

/// Two Envoys of the newest version.
pub(crate) async fn lab() -> Lab {
    lab_of("FINIAL_ENVOY").await
}

/// Two Envoys of the version that `variable` names.
pub(crate) async fn lab_of(variable: &str) -> Lab {
    Lab::new(&path(variable), Path::new(env!("CARGO_TARGET_TMPDIR"))).await
}
