//! The chart `spire`, rendered.

use crate::peers;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The folder of the charts.
pub(super) fn charts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts")
}

/// The six values files, and how each is installed.
pub(super) const INSTALLATIONS: [Installation; 6] = [
    Installation { values: "guide", release: "spire", ..Installation::USUAL },
    // A chart that shortens such a name gives its agents the name of another Service.
    Installation { values: "recommended", release: "spire-server", ..Installation::USUAL },
    Installation { values: "federation", release: "agent-server", ..Installation::USUAL },
    Installation { values: "upstream", release: "agent", ..Installation::USUAL },
    Installation {
        values: "old-kubernetes",
        // As long as helm lets it be.
        release: "the-identities-of-everything-that-runs-in-my-basement",
        kubernetes: "v1.30.4-gke.1000",
        ..Installation::USUAL
    },
    Installation { values: "agents-only", release: "edge", ..Installation::USUAL },
];

/// A helm command, short of being run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Installation {
    /// The values file below `tests/fixtures/charts`.
    pub(super) values: &'static str,
    pub(super) release: &'static str,
    pub(super) namespace: &'static str,
    pub(super) kubernetes: &'static str,
    /// Further settings, each as `--set` has it.
    pub(super) set: &'static [&'static str],
}

/// What an installation would bring.
pub(super) struct Rendered {
    pub(super) text: String,
    pub(super) objects: Vec<Value>,
}

impl Installation {
    pub(super) const USUAL: Self = Self {
        values: "guide",
        release: "spire",
        namespace: "spire-server",
        kubernetes: "1.34.0",
        set: &[],
    };

    /// With one more setting.
    pub(super) const fn with(set: &'static [&'static str]) -> Self {
        Self { set, ..Self::USUAL }
    }

    pub(super) fn values_file(&self) -> PathBuf {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/charts");
        folder.join(self.values).with_extension("yaml")
    }

    /// What helm would install.
    pub(super) fn render(&self) -> Rendered {
        let text = self.template(&charts().join("spire")).unwrap_or_else(|error| panic!("{error}"));
        Rendered { objects: parsed(&text), text }
    }

    /// Why helm refuses.
    pub(super) fn refusal(&self) -> String {
        let rendered = self.template(&charts().join("spire"));
        rendered.err().unwrap_or_else(|| panic!("{:?} is not refused", self.set))
    }

    /// The notes that helm would show. It shows them only beside a cluster, so that a copy of the chart renders
    /// them as an object.
    pub(super) fn notes(&self) -> String {
        let folder = tempfile::tempdir().unwrap();
        let chart = folder.path().join("spire");
        copy(&charts().join("spire"), &chart);
        fs::copy(chart.join("templates/NOTES.txt"), chart.join("files/notes")).unwrap();
        let object = r#"kind: Notes
text: {{ tpl (.Files.Get "files/notes") . | toJson }}
"#;
        fs::write(chart.join("templates/notes.yaml"), object).unwrap();
        let text = self.template(&chart).unwrap();
        let objects = parsed(&text);
        let notes = objects.iter().find(|object| object["kind"] == "Notes").unwrap();
        notes["text"].as_str().unwrap().to_owned()
    }

    fn template(&self, chart: &Path) -> Result<String, String> {
        let mut helm = Command::new(peers::path("FINIAL_HELM"));
        helm.args(["template", self.release, "--namespace", self.namespace]);
        helm.args(["--kube-version", self.kubernetes, "--values"]).arg(self.values_file());
        for setting in self.set {
            helm.args(["--set", setting]);
        }
        let output = helm.arg(chart).output().unwrap();
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap())
        } else {
            Err(String::from_utf8(output.stderr).unwrap())
        }
    }
}

impl Rendered {
    /// Every object of a kind.
    pub(super) fn all<'r>(&'r self, kind: &'r str) -> impl Iterator<Item = &'r Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// The object of this kind and of the component that its label names.
    pub(super) fn of(&self, kind: &str, component: &str) -> &Value {
        let is_wanted = |object: &&Value| {
            object["kind"] == kind
                && object["metadata"]["labels"]["app.kubernetes.io/name"] == component
        };
        let found = self.objects.iter().find(is_wanted);
        found.unwrap_or_else(|| panic!("no {kind} of {component}"))
    }

    /// A file in a ConfigMap.
    pub(super) fn file(&self, name: &str) -> Option<&str> {
        self.all("ConfigMap").find_map(|map| map["data"][name].as_str())
    }

    /// The specifications of all pods.
    pub(super) fn pods(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.objects.iter().filter_map(|object| {
            let spec = match object["kind"].as_str()? {
                "Pod" => &object["spec"],
                "DaemonSet" | "StatefulSet" | "Deployment" | "Job" => {
                    &object["spec"]["template"]["spec"]
                }
                _ => return None,
            };
            Some((name(object), spec))
        })
    }
}

/// The name of an object.
pub(super) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// Namespace and name of an object.
pub(super) fn place(object: &Value) -> (&str, &str) {
    (object["metadata"]["namespace"].as_str().unwrap(), name(object))
}

/// The members of a list; none where there is no list.
pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Every document of a YAML text that is one.
pub(super) fn parsed(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
