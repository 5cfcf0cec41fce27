//! What each of the six values files installs, to the letter, and that a Kubernetes would take it.

use super::helm::{INSTALLATIONS, Installation, charts};
use crate::peers;
use std::{fs, path::Path, process::Command};

/// The minor versions that finial is for.
const KUBERNETES: &str = "1.28,1.29,1.30,1.31,1.32,1.33,1.34,1.35,1.36";

/// After a change that is meant: `INSTA_UPDATE=always`, and read the difference.
#[test]
fn six_values_files_render_as_recorded() {
    insta::with_settings!({
        snapshot_path => "../../fixtures/charts/rendered",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        for installation in INSTALLATIONS {
            insta::assert_snapshot!(installation.values, installation.render().text);
        }
    });
}

#[test]
fn every_kubernetes_takes_what_is_rendered() {
    let folder = tempfile::tempdir().unwrap();
    let definitions = charts().join("spire-crds/templates");
    let mut files: Vec<_> =
        fs::read_dir(&definitions).unwrap().map(|file| file.unwrap().path()).collect();
    for installation in INSTALLATIONS {
        let file = folder.path().join(installation.values).with_extension("yaml");
        fs::write(&file, installation.render().text).unwrap();
        files.push(file);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/validate_manifests.py");
    let mut python = Command::new(peers::path("FINIAL_PYTHON"));
    let output = python.arg(script).arg(KUBERNETES).arg(definitions).args(files).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}{complaint}");
    let checked = told.trim().strip_prefix("checked ").unwrap().parse::<u32>().unwrap();
    assert!(checked > 1000, "only {checked} objects were checked");
}

#[test]
fn helm_finds_nothing_to_complain_about() {
    for chart in ["spire", "spire-crds"] {
        let mut helm = Command::new(peers::path("FINIAL_HELM"));
        helm.args(["lint", "--strict", "--kube-version", Installation::USUAL.kubernetes]);
        let output = helm.arg(charts().join(chart)).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && !told.contains("[WARNING]"), "{told}");
    }
}
